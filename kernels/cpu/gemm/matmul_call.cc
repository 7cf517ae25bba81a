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

void MatmulCall::Run(const dnnl::stream& stream, const dnnl::memory& weights, std::byte* scratchpad,
                     const void* in, void* out) const {
  // The C interface: the C++ one builds a vector at each call.
  const auto set = [](const dnnl::memory& memory, void* data) {
    PRECIS_CHECK(dnnl_memory_set_data_handle(memory.get(), data) == dnnl_success);
  };
  set(src_, const_cast<void*>(in));
  set(dst_, out);
  set(scratchpad_, scratchpad);
  const std::array<dnnl_exec_arg_t, 4> args = {{{DNNL_ARG_SRC, src_.get()},
                                                {DNNL_ARG_WEIGHTS, weights.get()},
                                                {DNNL_ARG_DST, dst_.get()},
                                                {DNNL_ARG_SCRATCHPAD, scratchpad_.get()}}};
  PRECIS_CHECK(dnnl_primitive_execute(primitive_.get(), stream.get(), args.size(), args.data()) ==
               dnnl_success);
}

}  // namespace precis
