// No op allocates after Prepare(). Allocations that oneDNN makes inside itself are not ours and are
// told apart by the caller's address.
#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>

#include "tests/kernels/paged_testing.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<uint64_t> ours{0};

bool FromLibrary(void* caller) {
  Dl_info info{};
  return dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
         std::string_view(info.dli_fname).find("libdnnl") != std::string_view::npos;
}

void* Allocate(size_t bytes, size_t alignment, void* caller) {
  if (counting && !FromLibrary(caller)) ++ours;
  void* p = alignment == 0
                ? std::malloc(bytes == 0 ? 1 : bytes)
                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p == nullptr) std::abort();
  return p;
}

}  // namespace

// Never inlined: the compiler would take malloc and delete, or new and free, for a mismatched pair.
#define PRECIS_NOINLINE __attribute__((noinline))

PRECIS_NOINLINE void* operator new(size_t bytes) {
  return Allocate(bytes, 0, __builtin_return_address(0));
}
PRECIS_NOINLINE void* operator new[](size_t bytes) {
  return Allocate(bytes, 0, __builtin_return_address(0));
}
PRECIS_NOINLINE void* operator new(size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<size_t>(alignment), __builtin_return_address(0));
}
PRECIS_NOINLINE void operator delete(void* p) noexcept { std::free(p); }
PRECIS_NOINLINE void operator delete[](void* p) noexcept { std::free(p); }
PRECIS_NOINLINE void operator delete(void* p, size_t) noexcept { std::free(p); }
PRECIS_NOINLINE void operator delete[](void* p, size_t) noexcept { std::free(p); }
PRECIS_NOINLINE void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
PRECIS_NOINLINE void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace precis {
namespace {

// Allocations of ours while `act` runs.
template <typename Act>
uint64_t Count(const Act& act) {
  ours = 0;
  counting = true;
  act();
  counting = false;
  return ours;
}

TEST(Allocation, IsSeenByTheCounter) {
  EXPECT_EQ(Count([] {
              std::vector<int> v(100);
              v[99] = 1;
            }),
            1u);
}

class AllocationTest : public ::testing::TestWithParam<const char*> {};

TEST_P(AllocationTest, NoOpAllocatesAfterPrepare) {
  const std::unique_ptr<Backend> backend =
      MakeBackend({.name = GetParam(), .isa = "auto", .threads = 2}).value();
  constexpr size_t kN = 70;
  constexpr size_t kK = 50;
  const auto w = RandomFloats(kN * kK, 1);
  const auto packed = backend->Pack("w", w, kN, kK, DType::kF32, 40).value();
  ASSERT_TRUE(backend->Prepare(kPagedLimits).ok());

  PagedBatch batch({{{0, 1, 2}, {3}}, 16, 64, DType::kF32, true, DType::kF32});
  batch.Append(backend.get());
  const size_t width = batch.c.num_heads() * batch.c.head_dim;
  auto in = RandomFloats(40 * 2 * kK, 2);
  auto qkv = RandomFloats(100 * 3 * width, 3);
  std::vector<float> out(200 * width);
  const std::vector<int32_t> ids = {0, 3, 5};
  std::vector<int32_t> best(40);
  const std::vector<SlotRef> slots = {{0, 0}, {1, 3}};
  Guarded attended = Guarded::Floats(batch.rows.size() * width);
  const PagedAttentionParams paged{.q = batch.q.data(),
                                   .q_stride = width,
                                   .rows = batch.rows,
                                   .pages = batch.pages,
                                   .pool = batch.Pool(),
                                   .region = batch.region,
                                   .groups = {batch.heads, batch.begin},
                                   .bias = {batch.bias.data(), 1100, 1099},
                                   .out = attended.View(batch.rows.size(), width)};
  const EncoderAttentionParams encoder{.q = qkv.data(),
                                       .k = qkv.data() + width,
                                       .v = qkv.data() + 2 * width,
                                       .row_stride = 3 * width,
                                       .num_keys = 100,
                                       .num_heads = static_cast<uint32_t>(batch.c.num_heads()),
                                       .head_dim = batch.c.head_dim,
                                       .begin = 0,
                                       .bias = {},
                                       .out = {out.data(), DType::kF32, 100, width}};
  const auto ops = [&] {
    for (const size_t rows : {1, 3, 16, 39, 40}) {
      for (const bool accumulate : {false, true}) {
        backend->Gemm({in.data(), DType::kF32, rows, kK}, *packed, accumulate, out.data());
      }
    }
    backend->Embed(ids, w.data(), DType::kF32, kK, out.data());
    backend->RmsNorm(in.data(), w.data(), 1e-6f, {out.data(), DType::kF32, 40, kK});
    backend->Activate(ActivationKind::kGatedGelu, in.data(), {out.data(), DType::kF32, 40, kK});
    backend->ArgMax(in.data(), 40, kK, best.data());
    backend->AppendKv({qkv.data(), qkv.data(), width, slots, batch.Pool(), batch.region});
    backend->PagedAttention(paged);
    backend->EncoderAttention(encoder);
  };
  EXPECT_EQ(Count(ops), 0u);
}

INSTANTIATE_TEST_SUITE_P(Backends, AllocationTest, ::testing::Values("ref", "cpu"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace precis
