#include "kernels/cpu/gemm/matmul_call.h"

#include <array>

#include "common/check.h"

namespace precis {

MatmulCall::MatmulCall(const dnnl::matmul& primitive, const dnnl::matmul::primitive_desc& desc,
                       const dnnl::engine& engine)
    : primitive_(primitive),
      src_(desc.src_desc(), engine, nullptr),
      dst_(desc.dst_desc(), engine, nullptr),
      scratchpad_(desc.scratchpad_desc(), engine, nullptr) {}

void MatmulCall::Run(const dnnl::stream& stream, const GemmWeights& weights, std::byte* scratchpad,
                     const void* in, void* out) const {
  // The C interface: the C++ one builds a vector at each call.
  const auto set = [](const dnnl::memory& memory, void* data) {
    PRECIS_CHECK(dnnl_memory_set_data_handle(memory.get(), data) == dnnl_success);
  };
  set(src_, const_cast<void*>(in));
  set(dst_, out);
  set(scratchpad_, scratchpad);
  const dnnl_memory_t bias = weights.bias.get(/*allow_empty=*/true);
  const std::array<dnnl_exec_arg_t, 5> args = {{{DNNL_ARG_SRC, src_.get()},
                                                {DNNL_ARG_WEIGHTS, weights.w.get()},
                                                {DNNL_ARG_DST, dst_.get()},
                                                {DNNL_ARG_SCRATCHPAD, scratchpad_.get()},
                                                {DNNL_ARG_BIAS, bias}}};
  const int count = bias == nullptr ? 4 : 5;
  PRECIS_CHECK(dnnl_primitive_execute(primitive_.get(), stream.get(), count, args.data()) ==
               dnnl_success);
}

}  // namespace precis
