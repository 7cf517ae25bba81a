// Ops one by one on a real device, against ref: odd widths, and f32 and bf16. Pages and decoding
// are the affair of whole models (golden_test.cc).
#include <cmath>

#include "common/check.h"
#include "kernels/device_allocator.h"
#include "tests/gpu/device_testing.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

constexpr size_t kWidths[] = {1, 7, 31, 33, 64, 129, 1000};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

class GpuOps : public ::testing::Test {
 protected:
  void SetUp() override {
    PRECIS_NEEDS_A_DEVICE();
    backend_ = MakeBackend({.name = "cuda"}).value();
    ASSERT_TRUE(Prepare(backend_.get()).ok());
    ASSERT_TRUE(Prepare(ref_.get()).ok());
  }
  static Status Prepare(Backend* backend) {
    return backend->Prepare({.num_heads = 4,
                             .head_dim = 128,
                             .max_source_tokens = 512,
                             .max_target_tokens = 64,
                             .max_decode_rows = 64,
                             .max_encode_rows = 64,
                             .vocab_size = 64});
  }

  template <typename T>
  DeviceArray<T> OnDevice(const std::vector<T>& values) {
    DeviceAllocator allocator(*backend_);
    DeviceArray<T> copy = allocator.Copy<T>(values);
    PRECIS_CHECK(allocator.status().ok());
    return copy;
  }
  // What an op writes lies between guards on the device, too.
  DeviceArray<std::byte> GuardsOf(const Guarded& out) { return OnDevice(Bytes(out)); }
  static constexpr size_t kGuard = 256;
  static std::byte* Payload(const DeviceArray<std::byte>& guarded) {
    return guarded.data() + kGuard;
  }
  static std::vector<std::byte> Bytes(const Guarded& of) {
    const auto* first = static_cast<const std::byte*>(of.data());
    return {first - kGuard, first + of.size() * ElementBytes(of.dtype()) + kGuard};
  }
  void Fetch(const DeviceArray<std::byte>& guarded, Guarded* to) {
    auto* first = static_cast<std::byte*>(to->data());
    backend_->Download(guarded.data(), guarded.size(), first - kGuard);
    ASSERT_TRUE(backend_->Wait().ok());
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> ref_ = Ref();
};

TEST_F(GpuOps, EmbedIsThatOfRef) {
  const std::vector<int32_t> ids = {3, 0, 9, 9, 4};
  const std::vector<uint32_t> positions = {0, 5, 1, 2, 5};
  for (const DType dtype : kTypes) {
    for (const size_t d : kWidths) {
      const auto table = Encode(RandomFloats(10 * d, 1), dtype);
      const auto position_table = RandomFloats(6 * d, 2);
      const auto device_table = OnDevice(table);
      const auto device_positions = OnDevice(position_table);
      for (const bool placed : {false, true}) {
        Guarded got = Guarded::Floats(ids.size() * d);
        Guarded want = Guarded::Floats(ids.size() * d);
        const auto out = GuardsOf(got);
        EmbedParams p{ids, table.data(), dtype, d, want.floats()};
        if (placed) p.position_table = position_table.data();
        if (placed) p.positions = positions;
        ref_->Embed(p);
        p.table = device_table.data();
        if (placed) p.position_table = device_positions.data();
        p.out = reinterpret_cast<float*>(Payload(out));
        backend_->Embed(p);
        Fetch(out, &got);
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 0)) << d;
      }
    }
  }
}

TEST_F(GpuOps, NormsAreNearRef) {
  for (const NormKind kind : kNorms) {
    for (const DType dtype : kTypes) {
      for (const size_t d : kWidths) {
        const RandomNorm norm(kind, d);
        const auto x = RandomFloats(3 * d, 2, 30.0f);
        Guarded got(3 * d, dtype);
        Guarded want(3 * d, dtype);
        Guarded got_stream = Guarded::Floats(3 * d);
        Guarded want_stream = Guarded::Floats(3 * d);
        const auto out = GuardsOf(got);
        const auto stream = GuardsOf(got_stream);
        const auto device_x = OnDevice(x);
        const auto gain = OnDevice(norm.gain);
        const auto shift = OnDevice(norm.shift);
        backend_->Norm({device_x.data(),
                        {kind, gain.data(), shift.data(), norm.Weights().eps},
                        {Payload(out), dtype, 3, d},
                        reinterpret_cast<float*>(Payload(stream))});
        ref_->Norm({x.data(), norm.Weights(), want.View(3, d), want_stream.floats()});
        Fetch(out, &got);
        Fetch(stream, &got_stream);
        EXPECT_TRUE(AllNear(got, want, dtype, 3e-6)) << d;
        EXPECT_TRUE(AllNear(got_stream, want_stream, DType::kF32, 3e-6)) << d;
      }
    }
  }
}

TEST_F(GpuOps, ActivationsAreNearRef) {
  for (const DType dtype : kTypes) {
    for (const ActivationKind kind : kActivations) {
      for (const size_t d : kWidths) {
        for (const bool gated : {false, true}) {
          const auto in = RandomFloats(3 * d * (gated ? 2 : 1), 4, 4.0f);
          Guarded got(3 * d, dtype);
          Guarded want(3 * d, dtype);
          const auto out = GuardsOf(got);
          const auto device_in = OnDevice(in);
          backend_->Activate({kind, gated, device_in.data(), {Payload(out), dtype, 3, d}});
          ref_->Activate({kind, gated, in.data(), want.View(3, d)});
          Fetch(out, &got);
          EXPECT_TRUE(AllNear(got, want, dtype, 3e-6)) << d;
        }
      }
    }
  }
}

// cuBLASLt's product of a real device; and a row's bits are those it has alone.
TEST_F(GpuOps, ProductsAreNearRefAndARowsBitsAreItsOwn) {
  constexpr size_t kRows = 33;
  for (const DType dtype : kTypes) {
    for (const auto& [n, k] :
         {std::pair<size_t, size_t>{1, 1}, {7, 3}, {17, 64}, {33, 129}, {160, 256}, {64, 1024}}) {
      const RandomMatrix w(n, k, /*has_bias=*/n % 2 == 1, 5);
      backend_ = MakeBackend({.name = "cuda"}).value();  // Prepare() comes once, after Pack()
      const auto packed = backend_->Pack(w.ToPack(dtype, kRows));
      ASSERT_TRUE(packed.ok()) << packed.status();
      ASSERT_TRUE(Prepare(backend_.get()).ok());
      const auto ref_packed = ref_->Pack(w.ToPack(dtype, kRows)).value();
      auto in = Encode(RandomFloats(kRows * k, 6), dtype);
      const auto on_device = OnDevice(in);
      Guarded got = Guarded::Floats(kRows * n);
      Guarded want = Guarded::Floats(kRows * n);
      const auto out = GuardsOf(got);
      auto* first = reinterpret_cast<float*>(Payload(out));
      for (const bool accumulate : {false, true}) {
        backend_->Gemm({{on_device.data(), dtype, kRows, k}, **packed, accumulate, first});
        ref_->Gemm({{in.data(), dtype, kRows, k}, *ref_packed, accumulate, want.floats()});
        Fetch(out, &got);
        EXPECT_TRUE(AllNear(got, want, DType::kF32, 2e-5 * std::sqrt(k))) << n << " " << k;
      }
      Guarded together = Guarded::Floats(kRows * n);
      backend_->Gemm({{on_device.data(), dtype, kRows, k}, **packed, false, first});
      Fetch(out, &together);
      for (size_t row = 0; row < kRows; ++row) {
        auto* row_in = on_device.data() + row * k * ElementBytes(dtype);
        backend_->Gemm({{row_in, dtype, 1, k}, **packed, false, first + row * n});
      }
      Fetch(out, &got);
      EXPECT_EQ(std::memcmp(got.data(), together.data(), kRows * n * sizeof(float)), 0)
          << n << " " << k;
    }
  }
}

// Rows that are not of a tile, in f32 and by tensor cores; a slice of them has the bits of the
// whole.
TEST_F(GpuOps, EncoderAttentionIsNearRefAndASliceHasTheBitsOfTheWhole) {
  constexpr uint32_t kHeads = 2;
  constexpr uint32_t kKeys = 77;
  constexpr uint32_t kBegin = 37;
  for (const DType dtype : kTypes) {
    for (const uint32_t dim : {16u, 40u, 64u, 128u}) {
      const size_t width = kHeads * dim;
      const size_t row_bytes = width * ElementBytes(dtype);
      auto qkv = RandomFloats(kKeys * 3 * width, 7);
      // What tensor cores would round anyway.
      if (dtype == DType::kBF16) {
        for (float& x : qkv) x = BF16ToF32(F32ToBF16(x));
      }
      const auto bias = RandomFloats(kHeads * 2 * kKeys, 8);
      std::vector<std::byte> packed(EncoderPackedBytes(kKeys, kHeads, dim));
      const auto call = [&](const float* rows, const float* bias_data, std::byte* room,
                            uint32_t begin, Activations out) {
        return EncoderAttentionParams{.q = rows,
                                      .k = rows + width,
                                      .v = rows + 2 * width,
                                      .row_stride = 3 * width,
                                      .num_keys = kKeys,
                                      .num_heads = kHeads,
                                      .head_dim = dim,
                                      .begin = begin,
                                      .bias = {bias_data, 2 * kKeys, kKeys},
                                      .out = out,
                                      .packed = room};
      };
      const auto device_qkv = OnDevice(qkv);
      const auto device_bias = OnDevice(bias);
      const auto device_packed = OnDevice(packed);
      Guarded want(kKeys * width, dtype);
      Guarded got(kKeys * width, dtype);
      Guarded slice((kKeys - kBegin) * width, dtype);
      const auto out = GuardsOf(got);
      const auto slice_out = GuardsOf(slice);
      ref_->EncoderAttention(
          call(qkv.data(), bias.data(), packed.data(), 0, want.View(kKeys, width)));
      backend_->EncoderAttention(call(device_qkv.data(), device_bias.data(), device_packed.data(),
                                      0, {Payload(out), dtype, kKeys, width}));
      backend_->EncoderAttention(call(device_qkv.data(), device_bias.data(), device_packed.data(),
                                      kBegin, {Payload(slice_out), dtype, kKeys - kBegin, width}));
      Fetch(out, &got);
      Fetch(slice_out, &slice);
      EXPECT_TRUE(AllNear(got, want, dtype, dtype == DType::kF32 ? 2e-5 : 2e-2)) << dim;
      EXPECT_TRUE(slice.intact());
      EXPECT_EQ(
          std::memcmp(slice.data(), static_cast<const std::byte*>(got.data()) + kBegin * row_bytes,
                      (kKeys - kBegin) * row_bytes),
          0)
          << dim;
    }
  }
}

}  // namespace
}  // namespace precis
