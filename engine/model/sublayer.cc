#include "engine/model/sublayer.h"

namespace precis {

void EmbedTokens(const TokenRows& tokens, DType table_dtype, const StackEnds& ends,
                 const Architecture& arch, const Activations& y, Backend& backend, float* x) {
  backend.Embed({.ids = tokens.ids,
                 .table = tokens.table,
                 .table_dtype = table_dtype,
                 .d = arch.d_model,
                 .out = x,
                 .scale = arch.embedding_scale,
                 .position_table = ends.positions.data(),
                 .positions = tokens.positions});
  if (!arch.embedding_norm) return;
  Activations rows = y;
  if (arch.norm_place == NormPlace::kBefore) rows.data = nullptr;
  backend.Norm({x, ends.embedding_norm.Of(arch), rows, x});
}

void EnterSublayer(const StoredNorm& norm, const Architecture& arch, const float* x,
                   const Activations& y, const PackedMatrix& w, Backend& backend, float* out) {
  if (arch.norm_place == NormPlace::kAfter) return backend.Gemm({y, w, false, out});
  backend.GemmOfNorm({x, norm.Of(arch), y, w, out});
}

void LeaveSublayer(const StoredNorm& norm, const Architecture& arch, const Activations& y,
                   Backend& backend, float* x) {
  if (arch.norm_place == NormPlace::kAfter) backend.Norm({x, norm.Of(arch), y, x});
}

}  // namespace precis
