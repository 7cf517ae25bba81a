// What an observer of a backend sees, and that an op which it skips is not computed.
#include "kernels/op_observer.h"

#include <array>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/grouping_ops.h"

namespace precis {
namespace {

struct Counts final : OpObserver {
  bool Begin(const OpCall& op) override {
    ++begun;
    if (op.As<NormParams>() != nullptr) ++norms;
    if (const auto* p = op.As<GemmOfNormParams>()) matrix = &p->w;
    if (op.As<SubtractNoiseParams>() != nullptr) ++noises;
    return computes;
  }
  void End(const OpCall& op) override {
    ++ended;
    if (op.As<NormParams>() != nullptr) after = out == nullptr ? 0 : *out;
  }

  bool computes = true;
  int begun = 0;
  int ended = 0;
  int norms = 0;
  int noises = 0;
  const PackedMatrix* matrix = nullptr;
  const float* out = nullptr;
  float after = 0;  // *out, when a norm has ended
};

class Observer : public testing::Test {
 protected:
  void SetUp() override { backend_->set_observer(&counts_); }
  void Norm() { backend_->Norm({x_.data(), Weights(), Out()}); }
  NormWeights Weights() { return {NormKind::kRms, gain_.data(), nullptr, 0}; }
  Activations Out() { return {out_.data(), DType::kF32, 1, 2}; }

  const std::unique_ptr<Backend> backend_ = MakeRefBackend().value();
  Counts counts_;
  const std::array<float, 2> x_ = {3, 3};
  const std::array<float, 2> gain_ = {5, 5};
  std::array<float, 2> out_ = {0, 0};
};

TEST_F(Observer, IsCalledBeforeAndAfterAnOp) {
  counts_.out = out_.data();
  Norm();
  EXPECT_EQ(counts_.begun, 1);
  EXPECT_EQ(counts_.ended, 1);
  EXPECT_EQ(counts_.norms, 1);
  EXPECT_EQ(counts_.after, 5);
}

TEST_F(Observer, AnOpThatIsSkippedIsNotComputed) {
  counts_.computes = false;
  Norm();
  EXPECT_EQ(out_[0], 0);
  EXPECT_EQ(counts_.ended, 1);
}

TEST_F(Observer, DoesNotSeeWhatAnotherOpIncludes) {
  const std::vector<float> values = {1, 1};
  const auto w = backend_->Pack({"w", values, 1, 2, DType::kF32, 1}).value();
  float sum = 0;
  std::array<float, 2> rows = {0, 0};
  backend_->GemmOfNorm({x_.data(), Weights(), {rows.data(), DType::kF32, 1, 2}, *w, &sum});
  EXPECT_EQ(sum, 10);
  EXPECT_EQ(counts_.begun, 1);
  EXPECT_EQ(counts_.norms, 0);
  EXPECT_EQ(counts_.matrix, w.get());
}

TEST_F(Observer, SeesTheOpsOfGroupings) {
  const NoiseRow row{1, 0};
  backend_->grouping_ops()->SubtractNoise({.x = x_.data(),
                                           .rows = {&row, 1},
                                           .layer = 0,
                                           .kind = 0,
                                           .num_heads = 1,
                                           .head_dim = 2,
                                           .group_size = 1,
                                           .out = Out()});
  EXPECT_EQ(counts_.noises, 1);
}

TEST_F(Observer, ThatIsTakenAwaySeesNothing) {
  backend_->set_observer(nullptr);
  Norm();
  EXPECT_EQ(counts_.begun, 0);
  EXPECT_EQ(out_[0], 5);
}

}  // namespace
}  // namespace precis
