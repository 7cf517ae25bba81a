#include "tools/convert/partition_search.h"

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <utility>

#include "common/check.h"
#include "engine/model/config/attention_variant.h"

namespace precis {
namespace {

constexpr uint32_t kLeastPopulation = 64;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

// Group of each head; groups are numbered by their first head, so that equal partitions are equal.
using Assignment = std::vector<uint32_t>;

struct Individual {
  Assignment group_of;
  uint32_t groups = 0;
  double error = 0;
  uint32_t front = 0;   // 0: nothing is better in both aims
  double crowding = 0;  // how alone it is on its front
};

uint32_t Renumber(Assignment& group_of) {
  constexpr uint32_t kUnseen = ~0u;
  std::vector<uint32_t> numbers(group_of.size() * 2, kUnseen);
  uint32_t groups = 0;
  for (uint32_t& group : group_of) {
    if (numbers[group] == kUnseen) numbers[group] = groups++;
    group = numbers[group];
  }
  return groups;
}

HeadGrouping GroupingOf(const Assignment& group_of, uint32_t groups) {
  HeadGrouping grouping;
  grouping.groups.resize(groups);
  for (uint32_t head = 0; head < group_of.size(); ++head) {
    grouping.groups[group_of[head]].push_back(head);
  }
  return grouping;
}

class Search {
 public:
  Search(const HeadDistances& distances, const SearchOptions& options)
      : distances_(distances),
        heads_(distances.num_heads()),
        generations_(options.generations),
        population_(options.population != 0 ? options.population
                                            : std::max(kLeastPopulation, 3 * heads_)),
        random_(options.seed),
        best_(heads_) {
    for (FoundPartition& found : best_) found.error = kInfinite;
  }

  std::vector<FoundPartition> Run() {
    Found();
    for (uint32_t generation = 0; generation < generations_; ++generation) {
      const size_t parents = living_.size();
      for (uint32_t child = 0; child < population_; ++child) {
        Assignment made = Cross(Tournament(parents), Tournament(parents));
        Mutate(made);
        Join(std::move(made));
      }
      Select();
    }
    FillGaps();
    return std::move(best_);
  }

 private:
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  // The first generation: neighbours, merged neighbours of the weights, and chance.
  void Found() {
    for (uint32_t groups = 1; groups <= heads_; ++groups) {
      Assignment group_of(heads_);
      const HeadGrouping neighbours = NeighbouringHeads(heads_, groups);
      for (uint32_t g = 0; g < groups; ++g) {
        for (const uint32_t head : neighbours.groups[g]) group_of[head] = g;
      }
      Join(std::move(group_of));
    }
    FoundByMerging();
    for (uint32_t i = 0; i < population_; ++i) {
      Assignment group_of(heads_);
      const uint32_t groups = 1 + Below(heads_);
      for (uint32_t& group : group_of) group = Below(groups);
      Join(std::move(group_of));
    }
    Select();
  }

  // Each head alone, then again and again the two groups whose union costs least (Ward 1963).
  void FoundByMerging() {
    Assignment group_of(heads_);
    for (uint32_t head = 0; head < heads_; ++head) group_of[head] = head;
    for (uint32_t groups = heads_; groups > 1; --groups) {
      MergeCheapest(group_of, groups);
      Renumber(group_of);
      Join(group_of);
    }
  }

  void MergeCheapest(Assignment& group_of, uint32_t groups) {
    const HeadGrouping grouping = GroupingOf(group_of, groups);
    std::vector<double> errors;
    for (const auto& group : grouping.groups) errors.push_back(SharingError(distances_, group));
    double least = kInfinite;
    std::pair<uint32_t, uint32_t> cheapest{0, 1};
    for (uint32_t a = 0; a < groups; ++a) {
      for (uint32_t b = a + 1; b < groups; ++b) {
        std::vector<uint32_t> both = grouping.groups[a];
        both.insert(both.end(), grouping.groups[b].begin(), grouping.groups[b].end());
        const double rise = SharingError(distances_, both) - errors[a] - errors[b];
        if (rise >= least) continue;
        least = rise;
        cheapest = {a, b};
      }
    }
    std::ranges::replace(group_of, cheapest.second, cheapest.first);
  }

  // Adds it to the living unless it is there, and to the best of its size if it is.
  void Join(Assignment group_of) {
    Individual joined;
    joined.groups = Renumber(group_of);
    if (!known_.insert(group_of).second) return;
    HeadGrouping grouping = GroupingOf(group_of, joined.groups);
    joined.error = SharingError(distances_, grouping);
    joined.group_of = std::move(group_of);
    FoundPartition& best = best_[joined.groups - 1];
    if (joined.error < best.error) best = {std::move(grouping), joined.error};
    living_.push_back(std::move(joined));
  }

  const Individual& Tournament(size_t parents) {
    const Individual& a = living_[Below(static_cast<uint32_t>(parents))];
    const Individual& b = living_[Below(static_cast<uint32_t>(parents))];
    if (a.front != b.front) return a.front < b.front ? a : b;
    return a.crowding >= b.crowding ? a : b;
  }

  // Some groups of one parent whole, the other heads as in the other parent (Falkenauer 1994).
  Assignment Cross(const Individual& a, const Individual& b) {
    std::vector<bool> taken(a.groups);
    for (uint32_t g = 0; g < a.groups; ++g) taken[g] = Below(2) == 0;
    Assignment child(heads_);
    for (uint32_t head = 0; head < heads_; ++head) {
      const uint32_t group = a.group_of[head];
      child[head] = taken[group] ? group : heads_ + b.group_of[head];
    }
    Renumber(child);
    return child;
  }

  void Mutate(Assignment& group_of) {
    const uint32_t head = Below(heads_);
    const uint32_t other = Below(heads_);
    switch (Below(4)) {
      case 0:  // into another's group
        group_of[head] = group_of[other];
        break;
      case 1:
        std::swap(group_of[head], group_of[other]);
        break;
      case 2:  // into a group of its own
        group_of[head] = heads_;
        break;
      default:  // two groups become one
        std::ranges::replace(group_of, uint32_t{group_of[other]}, uint32_t{group_of[head]});
        break;
    }
  }

  // Keeps the fronts nothing dominates, then what those dominate, and of the last front that fits
  // in part the loneliest (Deb et al. 2002).
  void Select() {
    std::ranges::sort(living_, [](const Individual& a, const Individual& b) {
      return std::pair(a.groups, a.error) < std::pair(b.groups, b.error);
    });
    std::vector<double> least;  // error of the last on each front; rises from front to front
    for (Individual& one : living_) {
      // Sorted by groups: whoever is on a front with no larger error dominates.
      const auto place = std::upper_bound(least.begin(), least.end(), one.error);
      one.front = static_cast<uint32_t>(place - least.begin());
      if (place == least.end()) {
        least.push_back(one.error);
      } else {
        *place = one.error;
      }
    }
    MeasureCrowding(least.size());
    std::ranges::sort(living_, [](const Individual& a, const Individual& b) {
      if (a.front != b.front) return a.front < b.front;
      if (a.crowding != b.crowding) return a.crowding > b.crowding;
      return a.group_of < b.group_of;
    });
    while (living_.size() > population_) {
      known_.erase(living_.back().group_of);
      living_.pop_back();
    }
  }

  // living_ is sorted by groups, so every front is.
  void MeasureCrowding(size_t fronts) {
    std::vector<std::vector<Individual*>> members(fronts);
    for (Individual& one : living_) members[one.front].push_back(&one);
    for (const auto& front : members) {
      const double errors = front.front()->error - front.back()->error;
      const double sizes = front.back()->groups - double{1} * front.front()->groups;
      for (size_t i = 0; i < front.size(); ++i) {
        const bool at_end = i == 0 || i + 1 == front.size();
        front[i]->crowding = kInfinite;
        if (at_end || errors <= 0 || sizes <= 0) continue;
        front[i]->crowding = (front[i - 1]->error - front[i + 1]->error) / errors +
                             (double{1} * front[i + 1]->groups - front[i - 1]->groups) / sizes;
      }
    }
  }

  // More groups can always do what fewer do: a head leaves its group, which costs nothing.
  void FillGaps() {
    for (uint32_t groups = 2; groups <= heads_; ++groups) {
      const FoundPartition& fewer = best_[groups - 2];
      if (best_[groups - 1].error <= fewer.error) continue;
      HeadGrouping split = fewer.grouping;
      const auto largest = std::ranges::max_element(split.groups, {}, &std::vector<uint32_t>::size);
      const uint32_t leaves = largest->back();
      largest->pop_back();
      split.groups.push_back({leaves});
      const double error = SharingError(distances_, split);
      best_[groups - 1] = {std::move(split), error};
    }
  }

  const HeadDistances& distances_;
  const uint32_t heads_;
  const uint32_t generations_;
  const uint32_t population_;
  std::mt19937_64 random_;
  std::vector<Individual> living_;
  std::set<Assignment> known_;  // of the living
  std::vector<FoundPartition> best_;
};

}  // namespace

std::vector<FoundPartition> SearchPartitions(const HeadDistances& distances,
                                             const SearchOptions& options) {
  return Search(distances, options).Run();
}

}  // namespace precis
