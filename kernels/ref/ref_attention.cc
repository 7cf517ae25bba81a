// Attention of the oracle: for each query and head a plain softmax over all keys, then a plain sum.
#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "kernels/int8_rows.h"
#include "kernels/ref/elements.h"
#include "kernels/ref/ref_backend.h"

namespace precis {
namespace {

double BiasAt(const PositionBias& bias, size_t head, size_t key, size_t query) {
  if (bias.data == nullptr) return 0;
  return bias.data[head * bias.stride + bias.zero + key - query];
}

// Scores to probabilities, in place.
void Softmax(double* scores, size_t num_keys) {
  const double max = *std::max_element(scores, scores + num_keys);
  double sum = 0;
  for (size_t i = 0; i < num_keys; ++i) sum += scores[i] = std::exp(scores[i] - max);
  for (size_t i = 0; i < num_keys; ++i) scores[i] /= sum;
}

// Where K and V of one row's keys lie.
class PagedKeys {
 public:
  PagedKeys(const PagedAttentionParams& params, const PagedRow& row, size_t kv_head)
      : params_(params), region_(params.region), row_(row), kv_head_(kv_head) {}

  double K(size_t key, size_t d) const {
    const size_t index = region_.KIndex(kv_head_, key % region_.slots, d);
    return Load(key, region_.k_offset, index, region_.k_scale_offset);
  }
  double V(size_t key, size_t d) const {
    const size_t index = region_.VIndex(kv_head_, key % region_.slots, d);
    return Load(key, region_.v_offset, index, region_.v_scale_offset);
  }

 private:
  double Load(size_t key, size_t offset, size_t index, size_t scale_offset) const {
    const std::byte* page = Page(key);
    if (region_.dtype != DType::kI8) return LoadElement(page + offset, region_.dtype, index);
    const auto* scales = reinterpret_cast<const float*>(page + scale_offset);
    const double scale = scales[kv_head_ * region_.slots + key % region_.slots];
    return scale * static_cast<double>(reinterpret_cast<const int8_t*>(page + offset)[index]);
  }
  const std::byte* Page(size_t key) const {
    const int32_t page = params_.pages[row_.first_page + key / region_.slots];
    return params_.pool.base + static_cast<size_t>(page) * params_.pool.page_bytes;
  }

  const PagedAttentionParams& params_;
  const KvRegion& region_;
  const PagedRow& row_;
  size_t kv_head_;
};

}  // namespace

void RefBackend::AppendInt8(const AppendKvParams& p, size_t row, size_t kv_head, std::byte* page) {
  const KvRegion& r = p.region;
  const size_t slot = p.slots[row].slot;
  const size_t column = row * p.row_stride + kv_head * r.head_dim;
  const size_t scale = kv_head * r.slots + slot;
  auto* k = reinterpret_cast<int8_t*>(page + r.k_offset);
  auto* v = reinterpret_cast<int8_t*>(page + r.v_offset);
  reinterpret_cast<float*>(page + r.k_scale_offset)[scale] =
      RoundRowToInt8(p.k + column, r.head_dim, rounded_head_.data(), 1);
  for (size_t d = 0; d < r.head_dim; ++d) k[r.KIndex(kv_head, slot, d)] = rounded_head_[d];
  reinterpret_cast<float*>(page + r.v_scale_offset)[scale] =
      RoundRowToInt8(p.v + column, r.head_dim, rounded_head_.data(), 1);
  for (size_t d = 0; d < r.head_dim; ++d) v[r.VIndex(kv_head, slot, d)] = rounded_head_[d];
  for (size_t d = r.head_dim; d < r.dim_words() * r.pack(); ++d) k[r.KIndex(kv_head, slot, d)] = 0;
}

void RefBackend::DoEncoderAttention(const EncoderAttentionParams& p) {
  PRECIS_CHECK(p.num_keys <= scores_.size() && p.head_dim <= sums_.size() &&
               p.begin + p.out.rows <= p.num_keys);
  for (size_t i = 0; i < p.out.rows; ++i) {
    const size_t query = p.begin + i;
    for (size_t h = 0; h < p.num_heads; ++h) {
      const size_t column = h * p.head_dim;
      for (size_t key = 0; key < p.num_keys; ++key) {
        scores_[key] =
            BiasAt(p.bias, h, key, query) +
            Dot(p.q + query * p.row_stride + column, p.k + key * p.row_stride + column, p.head_dim);
      }
      Softmax(scores_.data(), p.num_keys);
      // Key by key, as they lie in memory: documents of the tests are long.
      std::fill_n(sums_.begin(), p.head_dim, 0.0);
      for (size_t key = 0; key < p.num_keys; ++key) {
        const float* v = p.v + key * p.row_stride + column;
        for (size_t d = 0; d < p.head_dim; ++d) sums_[d] += scores_[key] * v[d];
      }
      for (size_t d = 0; d < p.head_dim; ++d) {
        StoreElement(p.out.data, p.out.dtype, i * p.out.cols + column + d,
                     static_cast<float>(sums_[d]));
      }
    }
  }
}

void RefBackend::DoAppendKv(const AppendKvParams& p) {
  const KvRegion& r = p.region;
  PRECIS_CHECK(r.dtype != DType::kI8 || r.head_dim <= rounded_head_.size());
  for (size_t i = 0; i < p.slots.size(); ++i) {
    const SlotRef at = p.slots[i];
    std::byte* page = p.pool.base + static_cast<size_t>(at.page) * p.pool.page_bytes;
    for (size_t g = 0; g < r.num_kv_heads; ++g) {
      if (r.dtype == DType::kI8) {
        AppendInt8(p, i, g, page);
        continue;
      }
      for (size_t d = 0; d < r.head_dim; ++d) {
        const size_t column = i * p.row_stride + g * r.head_dim + d;
        StoreElement(page + r.k_offset, r.dtype, r.KIndex(g, at.slot, d), p.k[column]);
        StoreElement(page + r.v_offset, r.dtype, r.VIndex(g, at.slot, d), p.v[column]);
      }
      for (size_t d = r.head_dim; d < r.dim_words() * r.pack(); ++d) {
        StoreElement(page + r.k_offset, r.dtype, r.KIndex(g, at.slot, d), 0.0f);
      }
    }
  }
}

void RefBackend::DoPagedAttention(const PagedAttentionParams& p) {
  if (p.append != nullptr) DoAppendKv(*p.append);
  const size_t head_dim = p.region.head_dim;
  for (size_t i = 0; i < p.rows.size(); ++i) {
    const PagedRow& row = p.rows[i];
    PRECIS_CHECK(row.num_keys >= 1 && row.num_keys <= scores_.size());
    const HeadGroups groups = GroupsOf(p, i);
    for (size_t g = 0; g < p.region.num_kv_heads; ++g) {
      const PagedKeys keys(p, row, g);
      for (size_t j = groups.begin[g]; j < groups.begin[g + 1]; ++j) {
        const size_t head = groups.heads[j];
        const float* q = p.q + i * p.q_stride + head * head_dim;
        for (size_t key = 0; key < row.num_keys; ++key) {
          double dot = BiasAt(p.bias, head, key, row.position);
          for (size_t d = 0; d < head_dim; ++d) dot += q[d] * keys.K(key, d);
          scores_[key] = dot;
        }
        Softmax(scores_.data(), row.num_keys);
        for (size_t d = 0; d < head_dim; ++d) {
          double sum = 0;
          for (size_t key = 0; key < row.num_keys; ++key) sum += scores_[key] * keys.V(key, d);
          StoreElement(p.out.data, p.out.dtype, i * p.out.cols + head * head_dim + d,
                       static_cast<float>(sum));
        }
      }
    }
  }
}

}  // namespace precis
