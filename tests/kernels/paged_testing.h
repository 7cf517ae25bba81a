// A batch of sequences with pages in a pool, for tests of AppendKv and PagedAttention.
//
// Thread rule: one test thread.
#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {

inline constexpr BackendLimits kPagedLimits = {.num_heads = 8,
                                               .head_dim = 128,
                                               .max_source_tokens = 1100,
                                               .max_target_tokens = 64,
                                               .max_decode_rows = 16,
                                               .max_encode_rows = 64};

struct PagedCase {
  std::vector<std::vector<uint32_t>> groups;
  uint32_t slots;
  uint32_t head_dim;
  DType kv;
  bool bias;
  DType out;

  size_t num_heads() const {
    size_t n = 0;
    for (const auto& group : groups) n += group.size();
    return n;
  }
  std::string Name() const {
    return fmt::format("{} heads in {} groups of {}, {} slots, kv {}, bias {}, out {}", num_heads(),
                       groups.size(), head_dim, slots, DTypeName(kv), bias, DTypeName(out));
  }
};

// Rows with numbers of keys around the page size and around the chunk size of the kernels; pages in
// a shuffled order; everything unwritten is NaN, in pages and between them.
struct PagedBatch {
  explicit PagedBatch(const PagedCase& paged_case) : c(paged_case) {
    MakeGroups();
    MakeRegion();
    for (const uint32_t keys :
         {1u, c.slots - 1, c.slots, c.slots + 1, 2 * c.slots + 1, 511u, 512u, 513u, 1100u}) {
      if (keys > 0) AddRow(keys);
    }
    MakePool();
    const size_t width = c.num_heads() * c.head_dim;
    q = RandomFloats(rows.size() * width, 1,
                     std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim))));
    bias = RandomFloats(c.num_heads() * 1100, 2, 2.0f);
  }

  KvPool Pool() { return {Base(), page_bytes}; }
  std::byte* Base() {
    const auto address = reinterpret_cast<uintptr_t>(pool_memory.get());
    return pool_memory.get() + (64 - address % 64) % 64;
  }
  bool UsesLastPage() const {
    return *std::ranges::max_element(pages) == static_cast<int32_t>(num_pages) - 1;
  }

  // Writes the keys and values of all rows, one call a sequence.
  void Append(Backend* backend) {
    const size_t width = c.groups.size() * c.head_dim;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto k = RandomFloats(rows[i].num_keys * width, static_cast<uint32_t>(10 + i),
                                  std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim))));
      const auto v = RandomFloats(rows[i].num_keys * width, static_cast<uint32_t>(50 + i));
      std::vector<SlotRef> slots;
      for (uint32_t key = 0; key < rows[i].num_keys; ++key) {
        slots.push_back({pages[rows[i].first_page + key / c.slots], key % c.slots});
      }
      backend->AppendKv({k.data(), v.data(), width, slots, Pool(), region});
    }
    pool.assign(Base(), Base() + num_pages * page_bytes);
  }

  // Replaces the rows: row i reads the table of old row from[i] up to key keys[i] - 1.
  void SetRows(std::span<const size_t> from, std::span<const uint32_t> keys) {
    std::vector<PagedRow> chosen;
    for (size_t i = 0; i < from.size(); ++i) {
      chosen.push_back({rows[from[i]].first_page, keys[i], keys[i] - 1});
    }
    rows = chosen;
    const size_t width = c.num_heads() * c.head_dim;
    q = RandomFloats(rows.size() * width, 3,
                     std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim))));
  }

  // Key `key` of row `row` and its value become NaN.
  void Poison(Backend* backend, size_t row, uint32_t key) {
    const std::vector<float> nan(c.groups.size() * c.head_dim, NAN);
    const SlotRef slot{pages[rows[row].first_page + key / c.slots], key % c.slots};
    backend->AppendKv({nan.data(), nan.data(), nan.size(), {&slot, 1}, Pool(), region});
  }

  // Splits of the query heads by row, as AssignHeads gives them: none, one head each, all to one
  // ...
  void AssignByRow() {
    const auto kv_heads = static_cast<uint32_t>(c.groups.size());
    const auto num_heads = static_cast<uint32_t>(c.num_heads());
    uint32_t state = 12345;
    for (size_t i = 0; i < rows.size(); ++i) {
      // Some neighbours have the same split, some that share a table do not.
      if (i % 3 == 1) {
        assigned.insert(assigned.end(), assigned.end() - kv_heads - 1, assigned.end());
        continue;
      }
      std::vector<uint32_t> cuts = {0, num_heads};
      for (uint32_t g = 1; g < kv_heads; ++g) {
        state = state * 1664525u + 1013904223u;
        cuts.push_back((state >> 16) % (num_heads + 1));
      }
      std::ranges::sort(cuts);
      assigned.insert(assigned.end(), cuts.begin(), cuts.end());
    }
  }

  // append: what PagedAttentionParams::append is.
  Guarded Run(Backend* backend, size_t first, size_t count,
              const AppendKvParams* append = nullptr) {
    const size_t width = c.num_heads() * c.head_dim;
    Guarded out(count * width, c.out);
    PagedAttentionParams p{.append = append,
                           .q = q.data() + first * width,
                           .q_stride = width,
                           .rows = std::span(rows).subspan(first, count),
                           .pages = pages,
                           .pool = Pool(),
                           .region = region,
                           .groups = {heads, begin},
                           .bias = {},
                           .out = out.View(count, width)};
    const size_t splits = c.groups.size() + 1;
    if (!assigned.empty()) p.assigned = std::span(assigned).subspan(first * splits, count * splits);
    if (c.bias) p.bias = {bias.data(), 1100, 1099};
    backend->PagedAttention(p);
    return out;
  }

  PagedCase c;
  KvRegion region;
  size_t page_bytes = 0;
  size_t num_pages = 0;
  std::vector<uint32_t> heads;
  std::vector<uint32_t> begin = {0};
  std::vector<PagedRow> rows;
  std::vector<int32_t> pages;
  std::vector<uint32_t> assigned;  // [rows, KV heads + 1], or empty
  std::unique_ptr<std::byte[]> pool_memory;
  std::vector<std::byte> pool;  // a copy of the pages after Append()
  std::vector<float> q;
  std::vector<float> bias;

 private:
  void MakeGroups() {
    for (const auto& group : c.groups) {
      heads.insert(heads.end(), group.begin(), group.end());
      begin.push_back(static_cast<uint32_t>(heads.size()));
    }
  }
  void MakeRegion() {
    const size_t heads_of_kv = c.groups.size();
    const size_t pack = 4 / ElementBytes(c.kv);
    const auto aligned = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    const size_t k = aligned(heads_of_kv * ((c.head_dim + pack - 1) / pack) * c.slots * 4);
    const size_t v = aligned(heads_of_kv * ((c.slots + pack - 1) / pack) * c.head_dim * 4);
    const size_t scales = c.kv == DType::kI8 ? aligned(heads_of_kv * c.slots * sizeof(float)) : 0;
    // Not at 0, and V or its scales last: what hangs over their end hangs over the page's.
    region = {.k_offset = 64,
              .v_offset = 64 + k + scales,
              .slots = c.slots,
              .num_kv_heads = static_cast<uint32_t>(heads_of_kv),
              .head_dim = c.head_dim,
              .dtype = c.kv,
              .k_scale_offset = 64 + k,
              .v_scale_offset = 64 + k + scales + v};
    page_bytes = 64 + k + v + 2 * scales;
  }
  void AddRow(uint32_t keys) {
    rows.push_back({static_cast<uint32_t>(pages.size()), keys, keys - 1});
    for (uint32_t i = 0; i < keys; i += c.slots) {
      pages.push_back(static_cast<int32_t>(pages.size()));
    }
  }
  void MakePool() {
    num_pages = pages.size();
    std::ranges::shuffle(pages, std::minstd_rand(7));
    const size_t bytes = num_pages * page_bytes + 64;
    pool_memory = std::make_unique<std::byte[]>(bytes + 63);
    // What is past the 64 readable bytes is not ours; an allocation is seldom aligned to 64 itself.
    std::memset(pool_memory.get(), 0xFF, bytes + 63);
  }
};

}  // namespace precis
