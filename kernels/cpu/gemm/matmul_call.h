// A oneDNN matmul that is made once and run often: its memory objects, and a call without
// allocations of ours.
//
// Owner: a plan of GEMMs. Thread rule: one caller of a MatmulCall at a time; calls may share a
// primitive.
#pragma once

#include <cstddef>

#include "oneapi/dnnl/dnnl.hpp"

namespace precis {

struct GemmWeights {
  dnnl::memory w;
  dnnl::memory bias;  // of a primitive that has one
};

class MatmulCall {
 public:
  MatmulCall() = default;
  // `primitive` of `desc`, whose scratchpad is the caller's.
  MatmulCall(const dnnl::matmul& primitive, const dnnl::matmul::primitive_desc& desc,
             const dnnl::engine& engine);

  void Run(const dnnl::stream& stream, const GemmWeights& weights, std::byte* scratchpad,
           const void* in, void* out) const;
  size_t scratchpad_bytes() const { return scratchpad_.get_desc().get_size(); }

 private:
  dnnl::matmul primitive_;
  dnnl::memory src_;
  dnnl::memory dst_;
  dnnl::memory scratchpad_;
};

}  // namespace precis
