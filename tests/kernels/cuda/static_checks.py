"""What can be said of the CUDA kernels without a GPU: that nvcc compiles each for every architecture
without a warning, how many registers and how much shared memory it takes, that nothing spills, how many
blocks a multiprocessor holds, and that the PTX has the instructions it was written for.

Run as: static_checks.py NVCC ROOT OCCUPANCY ARCHITECTURE..., of which "newest" is the newest nvcc knows, and
OCCUPANCY is the program of occupancy.cc; prints a line a source and a kernel, exits with 1 at a fault.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Werror", "all-warnings", "-Xptxas", "-v"]
# Of a thread: four blocks of 128 threads, or two of 256, share a multiprocessor's 65,536. Tensor cores
# are kept busy by fewer.
MOST_REGISTERS = {"encoder_attention_bf16": 168}
MOST_REGISTERS_ELSE = 128
MOST_STATIC_SHARED = 16 << 10
# By source, the PTX it must have at least so many of.
WANTED = {
    "embed": {r"ld\.global\.v4\.[fbu]32": 1, r"st\.global\.v4\.[fbu]32": 2},
    # Words of K and of V, in each of 18 kernels: three types of pages, three numbers of queries, two of output.
    "paged_attention": {r"ld\.global\.v4\.[bu]32": 2 * 18},
    # Of heads of 32, 64 and 128: (d / 16 + d / 16) * 4 products of a tile, half as many loads.
    "encoder_attention_bf16": {
        r"mma\.sync\.aligned\.m16n8k16": 8 * (2 + 4 + 8),
        r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared": 2 * (2 + 4 + 8),
        r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans": 2 * (2 + 4 + 8),
        r"cp\.async\.cg\.shared\.global": 6,
        r"cp\.async\.wait_group": 6,
    },
}

OCCUPANCY_OF = ["80", "90"]
# Bytes that a launch asks for, by the numbers of the kernel's template. Heads are the largest, of 128.
DYNAMIC_SHARED = {
    "EncoderKernel": lambda dims: 4 * ((16 + 2 * 32) * (32 * dims + 1) + 16 * 32),
    "MmaKernel": lambda dim: 2 * 4 * 32 * dim,
    "PagedKernel": lambda dtype, queries: 4 * queries * (128 + 512 + 4 * 128),
    "ScoreKernel": lambda: 2 * 8 * 64,  # 64 best tokens
}
# Blocks that a multiprocessor of sm_80 and sm_90 holds at least; here stands what there is, so that less is seen.
# Of PagedKernel by how many queries it serves at a time, of the encoder's by their heads.
LEAST_BLOCKS = {
    "ActivateKernel": (8, 8),
    "AddBiasKernel": (8, 8),
    "AppendKvKernel": (16, 16),
    "CopySlotsKernel": (16, 16),
    "AssignHeadsKernel": (32, 32),
    "EmbedKernel": (16, 16),
    "EncoderKernel 1": (10, 9),
    "EncoderKernel 2": (7, 8),
    "EncoderKernel 4": (3, 5),
    "KeepKernel": (16, 16),
    "MergeKernel": (16, 16),
    "MmaKernel 128": (3, 3),
    "MmaKernel 32": (8, 8),
    "MmaKernel 64": (4, 4),
    "NormKernel": (8, 8),
    "PackKernel": (8, 8),
    "PagedKernel 1": (6, 6),
    "PagedKernel 4": (5, 5),
    "PagedKernel 8": (4, 4),
    "ScoreKernel": (8, 8),
    "SubtractNoiseKernel": (16, 16),
    "SumKeySquaresKernel": (32, 32),
    "ExtractKernel": (16, 16),
}

ENTRY = re.compile(r"\.entry (\w+)\(.*?\.maxntid (\d+)", re.S)
KERNEL = re.compile(r"::(\w+Kernel)(<.*>)?\(")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def compile_to(nvcc, root, source, out, *options):
    command = [nvcc, *FLAGS, f"-I{root}", *options, "-o", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def faults_of_log(log, most_registers):
    """Faults, and (mangled name, registers, shared bytes) of each kernel, in what ptxas says."""
    faults, kernels = [], []
    for part in log.split("Compiling entry function")[1:]:
        name = part.split("'")[1]
        stack, stores, loads = map(int, SPILLS.search(part).groups())
        registers = int(USED.search(part).group(1))
        shared = int(SHARED.search(part).group(1)) if SHARED.search(part) else 0
        if stack or stores or loads:
            faults.append(f"{name}: {stack} bytes of stack, {stores + loads} bytes spilled")
        if registers > most_registers:
            faults.append(f"{name}: {registers} registers")
        if shared > MOST_STATIC_SHARED:
            faults.append(f"{name}: {shared} bytes of static shared memory")
        kernels.append((name, registers, shared))
    return faults, kernels


def label_of(mangled):
    """The name that LEAST_BLOCKS has, and the bytes of dynamic shared memory."""
    demangled = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout
    name, template = KERNEL.search(demangled).groups()
    numbers = [int(n) for n in re.findall(r"(?:\)|\b)(\d+)u?\b", template or "")]
    if name not in DYNAMIC_SHARED:
        return name, 0
    return f"{name} {numbers[-1]}" if numbers else name, DYNAMIC_SHARED[name](*numbers)


def check_occupancy(program, architecture, ptx, kernels, table):
    """Puts into table[label][architecture] the fewest blocks, with what limits them."""
    threads = dict(ENTRY.findall(ptx))
    rows, lines = [], []
    for name, registers, shared in kernels:
        label, dynamic = label_of(name)
        rows.append((label, int(threads[name]), registers, shared + dynamic))
        lines.append(f"{architecture} {threads[name]} {registers} {shared} {dynamic}")
    done = subprocess.run([program], input="\n".join(lines), capture_output=True, text=True, check=True)
    for row, answer in zip(rows, done.stdout.splitlines(), strict=True):
        blocks, limit = answer.split()
        found = (int(blocks), limit, *row[1:])
        fewest = table.setdefault(row[0], {})
        fewest[architecture] = min(found, fewest.get(architecture, found))


def faults_of_occupancy(table):
    faults = []
    for label, found in sorted(table.items()):
        blocks = [found[architecture][0] for architecture in found]
        limits = "/".join(dict.fromkeys(found[architecture][1] for architecture in found))
        _, _, threads, registers, shared = max(found.values(), key=lambda of: of[3])
        print(f"{label}: {threads} threads, {registers} registers, {shared} bytes of shared memory: "
              f"{'/'.join(map(str, blocks))} blocks, {[b * threads // 32 for b in blocks]} warps, by {limits}")
        least = LEAST_BLOCKS.get(label)
        if least is None:
            faults.append(f"{label}: LEAST_BLOCKS does not know it")
        elif any(got < wanted for got, wanted in zip(blocks, least, strict=True)):
            faults.append(f"{label}: {blocks} blocks, at least {least} wanted")
    faults += [f"{label}: no such kernel" for label in LEAST_BLOCKS if label not in table]
    return faults


def check(nvcc, root, occupancy, source, architectures, folder, table):
    faults, kernels = [], []
    for architecture in architectures:
        kept = folder / architecture
        kept.mkdir(exist_ok=True)
        code, log = compile_to(nvcc, root, source, folder / "out.cubin", "-cubin",
                               f"-arch=sm_{architecture}", "--keep", f"--keep-dir={kept}")
        if code != 0:
            return [f"sm_{architecture}: {log}"]
        most_registers = MOST_REGISTERS.get(source.stem, MOST_REGISTERS_ELSE)
        found, of_this = faults_of_log(log, most_registers)
        faults += [f"sm_{architecture}: {fault}" for fault in found]
        kernels += of_this
        if architecture in OCCUPANCY_OF:
            ptx = (kept / f"{source.stem}.ptx").read_text()
            check_occupancy(occupancy, architecture, ptx, of_this, table)
    if not kernels:
        return ["no kernel in it"]
    wanted = WANTED.get(source.stem, {})
    if wanted:
        ptx = (folder / architectures[0] / f"{source.stem}.ptx").read_text()
        for pattern, least in wanted.items():
            count = len(re.findall(pattern, ptx))
            if count < least:
                faults.append(f"{count} of {pattern} in the PTX, {least} wanted")
    registers = max(kernel[1] for kernel in kernels)
    shared = max(kernel[2] for kernel in kernels)
    print(f"{source.name}: {len(kernels) // len(architectures)} kernels, at most {registers} "
          f"registers and {shared} bytes of static shared memory", flush=True)
    return faults


def newest(nvcc):
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    return str(max(int(number) for number in re.findall(r"compute_(\d+)$", known.stdout, re.M)))


def main():
    nvcc, root, occupancy, *architectures = sys.argv[1:]
    root = pathlib.Path(root)
    architectures = [newest(nvcc) if a == "newest" else a for a in architectures]
    sources = sorted((root / "kernels/cuda").rglob("*.cu"))
    bad = 0 if sources else 1
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            for fault in check(nvcc, root, occupancy, source, architectures, pathlib.Path(folder), table):
                print(f"{source.name}: {fault}")
                bad += 1
    for fault in faults_of_occupancy(table):
        print(fault)
        bad += 1
    print(f"{len(sources)} sources for sm_{', sm_'.join(architectures)}: {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
