"""What can be said of the CUDA kernels without a GPU: that nvcc compiles each for every architecture
without a warning, how many registers and how much shared memory it takes, that nothing spills, and
that the PTX has the instructions it was written for.

Run as: static_checks.py NVCC ROOT ARCHITECTURE..., of which "newest" is the newest nvcc knows; prints a line a source, exits with 1 at a fault.
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
    # Of heads of 32, 64 and 128: (d / 16 + d / 16) * 4 products of a tile, half as many loads.
    "encoder_attention_bf16": {
        r"mma\.sync\.aligned\.m16n8k16": 8 * (2 + 4 + 8),
        r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared": 2 * (2 + 4 + 8),
        r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans": 2 * (2 + 4 + 8),
        r"cp\.async\.cg\.shared\.global": 6,
        r"cp\.async\.wait_group": 6,
    },
}

SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def compile_to(nvcc, root, source, out, *options):
    command = [nvcc, *FLAGS, f"-I{root}", *options, "-o", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def faults_of_log(log, most_registers):
    """Faults, and (registers, shared bytes) of each kernel, in what ptxas says."""
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
        kernels.append((registers, shared))
    return faults, kernels


def check(nvcc, root, source, architectures, folder):
    faults, kernels = [], []
    for architecture in architectures:
        code, log = compile_to(nvcc, root, source, folder / "out.cubin", "-cubin",
                               f"-arch=sm_{architecture}")
        if code != 0:
            return [f"sm_{architecture}: {log}"]
        most_registers = MOST_REGISTERS.get(source.stem, MOST_REGISTERS_ELSE)
        found, of_this = faults_of_log(log, most_registers)
        faults += [f"sm_{architecture}: {fault}" for fault in found]
        kernels += of_this
    if not kernels:
        return ["no kernel in it"]
    wanted = WANTED.get(source.stem, {})
    if wanted:
        compile_to(nvcc, root, source, folder / "out.ptx", "-ptx", f"-arch=sm_{architectures[0]}")
        ptx = (folder / "out.ptx").read_text()
        for pattern, least in wanted.items():
            count = len(re.findall(pattern, ptx))
            if count < least:
                faults.append(f"{count} of {pattern} in the PTX, {least} wanted")
    registers = max(kernel[0] for kernel in kernels)
    shared = max(kernel[1] for kernel in kernels)
    print(f"{source.name}: {len(kernels) // len(architectures)} kernels, at most {registers} "
          f"registers and {shared} bytes of static shared memory", flush=True)
    return faults


def newest(nvcc):
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    return str(max(int(number) for number in re.findall(r"compute_(\d+)$", known.stdout, re.M)))


def main():
    nvcc, root, *architectures = sys.argv[1:]
    root = pathlib.Path(root)
    architectures = [newest(nvcc) if a == "newest" else a for a in architectures]
    sources = sorted((root / "kernels/cuda").glob("*.cu"))
    bad = 0 if sources else 1
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            for fault in check(nvcc, root, source, architectures, pathlib.Path(folder)):
                print(f"{source.name}: {fault}")
                bad += 1
    print(f"{len(sources)} sources for sm_{', sm_'.join(architectures)}: {bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
