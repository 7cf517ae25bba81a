#include "engine/model/checkpoint/torch/torch_globals.h"

namespace precis {
namespace {

constexpr TorchGlobal Storage(std::string_view name, std::string_view dtype_name, uint64_t bytes,
                              StoredType dtype = StoredType::kOther) {
  return {"torch", name, GlobalRole::kStorage, dtype_name, dtype, bytes};
}

constexpr TorchGlobal kGlobals[] = {
    {"collections", "OrderedDict", GlobalRole::kOrderedDict},
    {"torch._utils", "_rebuild_tensor", GlobalRole::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", GlobalRole::kRebuildTensorV2},
    {"torch._utils", "_rebuild_parameter", GlobalRole::kRebuildParameter},
    Storage("FloatStorage", "F32", 4, StoredType::kF32),
    Storage("BFloat16Storage", "BF16", 2, StoredType::kBf16),
    Storage("HalfStorage", "F16", 2, StoredType::kF16),
    Storage("DoubleStorage", "F64", 8),
    Storage("LongStorage", "I64", 8),
    Storage("IntStorage", "I32", 4),
    Storage("ShortStorage", "I16", 2),
    Storage("CharStorage", "I8", 1),
    Storage("ByteStorage", "U8", 1),
    Storage("BoolStorage", "BOOL", 1),
};

}  // namespace

std::span<const TorchGlobal> TorchGlobals() { return kGlobals; }

}  // namespace precis
