// No op allocates after Prepare(). Allocations that oneDNN makes inside itself are not ours and are
// told apart by the caller's address.
#include "tests/kernels/paged_testing.h"
#include "tests/support/allocation_counter.h"

namespace precis {
namespace {

class AllocationTest : public ::testing::TestWithParam<const char*> {};

TEST_P(AllocationTest, NoOpAllocatesAfterPrepare) {
  const std::unique_ptr<Backend> backend =
      MakeBackend({.name = GetParam(), .isa = "auto", .threads = 2}).value();
  constexpr size_t kN = 70;
  constexpr size_t kK = 50;
  const auto w = RandomFloats(kN * kK, 1);
  const auto bias = RandomFloats(kN, 1);
  const auto packed = backend->Pack({"w", w, kN, kK, DType::kF32, 40, bias}).value();
  const auto int8 = backend->Pack({"w", w, kN, kK, DType::kI8, 40, bias});  // the CPU may lack it
  const auto bf16 = backend->Pack({"w", w, kN, kK, DType::kBF16, 40, bias});
  ASSERT_TRUE(backend->Prepare(kPagedLimits).ok());

  PagedBatch batch({{{0, 1, 2}, {3}}, 16, 64, DType::kF32, true, DType::kF32});
  batch.Append(backend.get());
  const size_t width = batch.c.num_heads() * batch.c.head_dim;
  auto in = RandomFloats(40 * 2 * kK, 2);
  auto bf16_in = Encode(in, DType::kBF16);
  auto qkv = RandomFloats(100 * 3 * width, 3);
  std::vector<float> out(200 * width);
  const std::vector<int32_t> ids = {0, 3, 5};
  const std::vector<uint32_t> positions = {4, 0, 1};
  std::vector<TokenScore> best(40 * 8);
  std::vector<ScoreReduction> reductions;
  for (size_t i = 0; i < 40; ++i) {
    reductions.push_back({.best = {&best[i * 8], 8}, .wants_sum = i % 2 == 0});
  }
  const std::vector<SlotRef> slots = {{0, 0}, {1, 3}};
  const std::vector<PageCopyRef> copies = {{0, 1, 3}};
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
  std::vector<std::byte> keys(
      EncoderPackedBytes(encoder.num_keys, encoder.num_heads, encoder.head_dim));
  EncoderAttentionParams encoder_bf16 = encoder;
  encoder_bf16.out.dtype = DType::kBF16;
  encoder_bf16.packed = keys.data();
  const auto ops = [&] {
    for (const size_t rows : {1, 3, 16, 39, 40}) {
      for (const bool accumulate : {false, true}) {
        const Activations rows_of_in{in.data(), DType::kF32, rows, kK};
        backend->Gemm({rows_of_in, *packed, accumulate, out.data()});
        if (int8.ok()) backend->Gemm({rows_of_in, **int8, accumulate, out.data()});
        const Activations bf16_rows{bf16_in.data(), DType::kBF16, rows, kK};
        if (bf16.ok()) backend->Gemm({bf16_rows, **bf16, accumulate, out.data()});
      }
    }
    backend->Embed({ids, w.data(), DType::kF32, kK, out.data(), 2.0f, w.data(), positions});
    const Activations rows_of_out{out.data(), DType::kF32, 40, kK};
    for (const NormKind kind : kNorms) {
      backend->Norm({in.data(), {kind, w.data(), w.data(), 1e-6f}, rows_of_out, in.data()});
    }
    for (const ActivationKind kind : kActivations) {
      backend->Activate({kind, true, in.data(), rows_of_out});
    }
    backend->ReduceScores({in.data(), kK, 0, reductions});
    backend->CopySlots({copies, batch.Pool(), {&batch.region, 1}});
    backend->AppendKv({qkv.data(), qkv.data(), width, slots, batch.Pool(), batch.region});
    backend->PagedAttention(paged);
    backend->EncoderAttention(encoder);
    backend->EncoderAttention(encoder_bf16);
  };
  EXPECT_EQ(CountAllocations(ops), 0u);
}

INSTANTIATE_TEST_SUITE_P(Backends, AllocationTest, ::testing::Values("ref", "cpu"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace precis
