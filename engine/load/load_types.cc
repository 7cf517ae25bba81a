#include "engine/load/load_types.h"

#include "fmt/format.h"

namespace precis {

StatusOr<DType> ParseDType(std::string_view flag, std::string_view name,
                           std::optional<DType> automatic) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    if (name == DTypeName(type)) return type;
  }
  if (automatic && name == "auto") return *automatic;
  return InvalidArgument(fmt::format("{} is '{}', must be {}f32, bf16 or int8", flag, name,
                                     automatic ? "auto, " : ""));
}

DType NativeDType(const Backend& backend) {
  const bool has_bf16 =
      backend.name() == "cuda" || backend.isa() == "avx512_bf16" || backend.isa() == "amx";
  return has_bf16 ? DType::kBF16 : DType::kF32;
}

StatusOr<LoadTypes> ResolveTypes(std::string_view dtype, std::string_view kv_dtype, DType native) {
  LoadTypes types{};
  PRECIS_ASSIGN_OR_RETURN(types.weights.projections, ParseDType("--dtype", dtype, native));
  types.weights.others =
      types.weights.projections == DType::kI8 ? native : types.weights.projections;
  PRECIS_ASSIGN_OR_RETURN(types.kv, ParseDType("--kv-dtype", kv_dtype, types.weights.others));
  return types;
}

}  // namespace precis
