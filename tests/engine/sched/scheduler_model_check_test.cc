// Exhaustive search of small worlds: every interleaving of arrivals, cancellations, budgets and
// early finishes, choices of parents, drafts and shared documents, state by state. A state is
// reached by replaying the acts that lead to it, so the scheduler needs no hook; states that differ
// only in the names of ids and pages are one.
#include <algorithm>
#include <cstdio>
#include <deque>
#include <limits>
#include <ostream>
#include <string>
#include <unordered_set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/sched/checked_scheduler.h"

namespace precis {
namespace {

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

struct World {
  // How gtest names the case: without this it prints bytes.
  friend void PrintTo(const World& world, std::ostream* os) { *os << world.name; }

  const char* name;
  uint32_t num_pages;
  uint32_t num_arrivals;
  SchedulerOptions options;
  std::vector<SequenceSpec> kinds;  // of documents
  std::vector<double> budgets_us;
  uint32_t max_drafts = 0;
  bool may_fail = false;  // encoder work may
};

struct Act {
  enum class Kind : uint8_t { kAdd, kRemove, kStep, kFlush } kind;
  uint8_t which;    // kAdd: the kind; kRemove: the place in Unfinished(); kStep: the budget
  uint64_t choice;  // kAdd: 1 to read a document that is there; kStep: what becomes of the decoding
                    // sequences, below NumChoices()
  bool fails = false;
};

// Finishing, and every way to choose the next 1 to spec.beams beams among the live ones, or how
// many drafts are asked for and how many of them stand.
uint64_t NumChoicesOf(const World& world, const CheckedScheduler& s, SequenceId id) {
  if (s.OnLastPosition(id)) return 1;  // it finishes whatever we say: one way to say it is enough
  if (s.spec(id).beams == 1) return 1 + (world.max_drafts + 1) * (world.max_drafts + 2) / 2;
  uint64_t choices = 1;
  uint64_t power = 1;
  for (uint32_t n = 1; n <= s.spec(id).beams; ++n) {
    power *= s.live_beams(id);
    choices += power;
  }
  return choices;
}

uint64_t NumChoices(const World& world, const CheckedScheduler& s) {
  uint64_t choices = 1;
  for (const SequenceId id : s.decoding()) choices *= NumChoicesOf(world, s, id);
  return choices;
}

CheckedScheduler::Next NextOf(const CheckedScheduler& s, SequenceId id, uint64_t choice) {
  if (choice == 0) return {.finished = true};
  if (s.spec(id).beams == 1) {
    uint32_t drafts = 0;
    for (--choice; choice > drafts; ++drafts) choice -= drafts + 1;
    return {.drafts = drafts, .accepted = static_cast<uint32_t>(choice)};
  }
  const uint32_t live = s.live_beams(id);
  uint64_t parents = choice - 1;
  uint64_t size = 1;
  for (uint64_t power = live; parents >= power; power *= live, ++size) parents -= power;
  CheckedScheduler::Next next;
  for (; size > 0; --size, parents /= live) {
    next.parents.push_back(static_cast<uint32_t>(parents % live));
  }
  return next;
}

std::vector<CheckedScheduler::Next> NextOfAll(const World& world, const CheckedScheduler& s,
                                              uint64_t choice) {
  std::vector<CheckedScheduler::Next> next;
  for (const SequenceId id : s.decoding()) {
    const uint64_t choices = NumChoicesOf(world, s, id);
    next.push_back(NextOf(s, id, choice % choices));
    choice /= choices;
  }
  return next;
}

std::vector<SequenceId> Unfinished(const CheckedScheduler& s) {
  std::vector<SequenceId> ids = s.waiting();
  ids.insert(ids.end(), s.encoding().begin(), s.encoding().end());
  ids.insert(ids.end(), s.decoding().begin(), s.decoding().end());
  return ids;
}

void Do(const World& world, const Act& act, CheckedScheduler* s) {
  switch (act.kind) {
    case Act::Kind::kAdd: {
      SequenceSpec spec = world.kinds[act.which];
      if (act.choice == 1) spec.document = s->FindDocument(spec.source_tokens);
      s->Add(spec);
      break;
    }
    case Act::Kind::kRemove:
      s->Remove(Unfinished(*s)[act.which]);
      break;
    case Act::Kind::kStep:
      s->Step(world.budgets_us[act.which], NextOfAll(world, *s, act.choice), act.fails);
      break;
    case Act::Kind::kFlush:
      s->Flush();
      break;
  }
}

std::vector<Act> ActsIn(const World& world, uint32_t arrivals_left, const CheckedScheduler& s) {
  std::vector<Act> acts;
  for (uint8_t i = 0; arrivals_left > 0 && i < world.kinds.size(); ++i) {
    if (!s.scheduler().HasRoom()) continue;
    acts.push_back({Act::Kind::kAdd, i, 0});
    if (world.options.keep_documents && s.FindDocument(world.kinds[i].source_tokens)) {
      acts.push_back({Act::Kind::kAdd, i, 1});
    }
  }
  const size_t num_unfinished = Unfinished(s).size();
  for (uint8_t i = 0; i < num_unfinished; ++i) acts.push_back({Act::Kind::kRemove, i, 0});
  for (uint8_t b = 0; b < world.budgets_us.size(); ++b) {
    for (uint64_t i = 0; i < NumChoices(world, s); ++i) {
      acts.push_back({Act::Kind::kStep, b, i});
      if (world.may_fail) acts.push_back({Act::Kind::kStep, b, i, true});
    }
  }
  if (s.scheduler().kept_documents() > 0) acts.push_back({Act::Kind::kFlush, 0, 0});
  return acts;
}

struct Path {
  std::vector<Act> acts;
  uint32_t arrivals_left;
};

struct Totals {
  size_t states = 0;
  size_t acts = 0;
  size_t idle_states = 0;
  size_t overtakes = 0;  // acts that planned a later document's end before the oldest one's
  size_t copies = 0;     // acts that copied pages
  size_t joined = 0;     // and so on, as CheckedScheduler counts them
  size_t ready = 0;
  size_t evicted = 0;
  size_t cut = 0;
};

class Search {
 public:
  explicit Search(const World& world) : world_(world) {}

  Totals Run() {
    frontier_.push_back({{}, world_.num_arrivals});
    seen_.insert(Key(CheckedScheduler(world_.options, world_.num_pages), world_.num_arrivals));
    while (!frontier_.empty() && !testing::Test::HasFailure()) {
      const Path path = std::move(frontier_.front());
      frontier_.pop_front();
      ++totals_.states;
      Expand(path);
    }
    return totals_;
  }

 private:
  static std::string Key(const CheckedScheduler& s, uint32_t arrivals_left) {
    return s.StateKey() + std::to_string(arrivals_left);
  }

  void Replay(const Path& path, CheckedScheduler* s) const {
    s->set_thorough(false);  // each of these states was checked when it was first met
    for (const Act& act : path.acts) Do(world_, act, s);
    s->set_thorough(true);
  }

  void Expand(const Path& path) {
    std::vector<Act> acts;
    {
      CheckedScheduler here(world_.options, world_.num_pages);
      Replay(path, &here);
      acts = ActsIn(world_, path.arrivals_left, here);
      if (here.scheduler().idle()) {
        ++totals_.idle_states;
        ASSERT_EQ(here.pool().available() + here.scheduler().kept_pages(), here.pool().total())
            << "an idle scheduler holds pages";
      }
    }
    for (const Act& act : acts) {
      CheckedScheduler next(world_.options, world_.num_pages);
      Replay(path, &next);
      const CheckedScheduler::Counts before = next.counts();
      const std::vector<DocumentId> in_progress = next.in_progress();
      Do(world_, act, &next);
      ++totals_.acts;
      Count(before, next.counts());
      if (act.kind == Act::Kind::kStep && in_progress.size() == 2 &&
          next.in_progress() == std::vector<DocumentId>{in_progress[0]}) {
        ++totals_.overtakes;
      }
      const uint32_t left = path.arrivals_left - (act.kind == Act::Kind::kAdd ? 1 : 0);
      if (!seen_.insert(Key(next, left)).second) continue;
      Path longer = path;
      longer.acts.push_back(act);
      longer.arrivals_left = left;
      frontier_.push_back(std::move(longer));
    }
  }

  void Count(const CheckedScheduler::Counts& before, const CheckedScheduler::Counts& after) {
    totals_.copies += after.copies > before.copies ? 1 : 0;
    totals_.joined += after.joined > before.joined ? 1 : 0;
    totals_.ready += after.ready > before.ready ? 1 : 0;
    totals_.evicted += after.evicted > before.evicted ? 1 : 0;
    totals_.cut += after.cut > before.cut ? 1 : 0;
  }

  const World& world_;
  std::deque<Path> frontier_;
  std::unordered_set<std::string> seen_;
  Totals totals_;
};

constexpr EncodeShape kShape = {.encoder_layers = 1, .decoder_layers = 1, .slice_rows = 64};
// A slice of 64 rows costs 64 us in each stage.
constexpr EncodeCosts kCosts = {.qkv_us_per_row = 1,
                                .attention_us_per_row = 1,
                                .attention_us_per_row_key = 0,
                                .cross_us_per_row = 1};

SchedulerOptions Options(uint32_t max_batch, uint32_t self_slots, uint32_t max_overtakes,
                         bool keep_documents = false) {
  return {.max_sequences = 5,
          .max_batch = max_batch,
          .self_slots = self_slots,
          .cross_slots = 64,
          .max_overtakes = max_overtakes,
          .keep_documents = keep_documents,
          .encode_shape = kShape,
          .encode_costs = kCosts};
}

std::vector<World> Worlds() {
  return {
      // Pages are short: the longest document's worst case is most of the pool.
      {"scarce_pages", 8, 6, Options(4, 1, 1), {{64, 2}, {128, 3}, {192, 2}}, {0, 150, kUnlimited}},
      // Rows are short.
      {"scarce_rows", 12, 6, Options(2, 2, 2), {{64, 3}, {128, 1}}, {0, 150, kUnlimited}},
      // Neither is: workspaces and overtaking decide.
      {"scarce_workspaces", 16, 6, Options(4, 2, 2), {{64, 1}, {192, 3}}, {0, 130, 400}},
      {"strict_order", 12, 6, Options(3, 2, 0), {{64, 1}, {128, 3}}, {0, 250, kUnlimited}},
      // Beams that wait for pages, for rows, and side by side.
      {"beams_scarce_pages",
       13,
       5,
       Options(6, 2, 1),
       {{64, 4, 3}, {64, 3, 2}, {128, 2}},
       {kUnlimited}},
      {"beams_scarce_rows",
       40,
       4,
       Options(3, 2, 1),
       {{64, 3, 3}, {64, 4, 2}, {128, 2}},
       {0, kUnlimited}},
      {"beams_plenty", 40, 3, Options(5, 3, 1), {{64, 5, 2}, {64, 4, 3}, {64, 2}}, {kUnlimited}},
      // Documents that are kept and shared, with pages for two of them, and for many.
      {"documents_scarce_pages",
       7,
       4,
       Options(4, 2, 1, true),
       {{64, 2}, {128, 3}, {192, 2}},
       {0, 150, kUnlimited}},
      {"documents_plenty", 30, 4, Options(4, 2, 2, true), {{64, 1}, {192, 3}}, {0, 130, 400}},
      {"documents_fail",
       9,
       4,
       Options(4, 2, 1, true),
       {{64, 2}, {128, 2, 2}},
       {0, kUnlimited},
       0,
       true},
      // Drafts that wait for rows, and for the end of the sequence.
      {"drafts", 14, 4, Options(4, 2, 1), {{64, 6}, {128, 2}}, {kUnlimited}, 2},
      {"drafts_beside_beams", 24, 4, Options(4, 3, 1), {{64, 5}, {64, 3, 2}}, {kUnlimited}, 2},
  };
}

class SchedulerModelCheck : public testing::TestWithParam<World> {};

TEST_P(SchedulerModelCheck, KeepsItsRulesInEveryReachableState) {
  const Totals totals = Search(GetParam()).Run();
  EXPECT_GT(totals.acts, 30000u) << "the world is too small to show anything";
  const bool keeps = GetParam().options.keep_documents;
  if (!keeps) {
    EXPECT_EQ(totals.idle_states, GetParam().num_arrivals + 1) << "one for each count of arrivals";
  }
  const bool may_overtake =
      GetParam().options.max_overtakes > 0 && GetParam().options.max_batch > 1;
  if (GetParam().budgets_us.size() > 1) {
    EXPECT_EQ(totals.overtakes > 0, may_overtake);
  }
  const bool beams = std::any_of(GetParam().kinds.begin(), GetParam().kinds.end(),
                                 [](const SequenceSpec& spec) { return spec.beams > 1; });
  EXPECT_EQ(totals.copies > 0, beams);
  EXPECT_EQ(totals.joined > 0, keeps);
  EXPECT_EQ(totals.ready > 0, keeps);
  EXPECT_EQ(totals.evicted > 0, keeps);
  EXPECT_EQ(totals.cut > 0, GetParam().max_drafts > 0);
  RecordProperty("states", static_cast<int>(totals.states));
  std::printf(
      "%zu states, %zu acts: %zu overtakes, %zu with copies, %zu joined, %zu found, "
      "%zu gave up documents, %zu lost drafts\n",
      totals.states, totals.acts, totals.overtakes, totals.copies, totals.joined, totals.ready,
      totals.evicted, totals.cut);
}

INSTANTIATE_TEST_SUITE_P(Worlds, SchedulerModelCheck, testing::ValuesIn(Worlds()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace precis
