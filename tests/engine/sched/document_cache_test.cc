#include "engine/sched/document_cache.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using State = DocumentCache::State;

constexpr uint32_t kPages = 10;
constexpr uint32_t kSlots = 16;

class DocumentCacheTest : public testing::Test {
 protected:
  // A document of so many pages that one sequence reads.
  DocumentId Read(uint32_t pages) {
    const DocumentId id = documents_.Add(pages * kSlots);
    documents_.Pin(id);
    documents_.MakeRoom(pages);
    documents_.Start(id);
    documents_.FinishEncoding(id);
    return id;
  }
  void Leave(DocumentId id) {
    documents_.Unpin(id);
    documents_.DropUser(id);
  }
  DocumentId Kept(uint32_t pages) {
    const DocumentId id = Read(pages);
    Leave(id);
    return id;
  }

  PagePool pool_{kPages};
  DocumentCache documents_{pool_, kSlots, true};
};

TEST_F(DocumentCacheTest, PagesAreThoseOfTheTokensRoundedUp) {
  EXPECT_EQ(documents_.NumPages(1), 1u);
  EXPECT_EQ(documents_.NumPages(16), 1u);
  EXPECT_EQ(documents_.NumPages(17), 2u);
}

TEST_F(DocumentCacheTest, StaysWhenNobodyReadsItAnyMore) {
  const DocumentId id = Kept(3);
  EXPECT_EQ(documents_.state(id), State::kReady);
  EXPECT_EQ(pool_.leased(), 3u);
  EXPECT_EQ(documents_.evictable_pages(), 3u);
  EXPECT_EQ(documents_.num_kept(), 1u);
  EXPECT_THAT(documents_.forgotten(), IsEmpty());
}

TEST_F(DocumentCacheTest, IsNotGivenUpWhileSomebodyReadsIt) {
  const DocumentId id = Kept(3);
  documents_.AddUser(id);
  documents_.Pin(id);
  EXPECT_EQ(documents_.evictable_pages(), 0u);
  documents_.Flush();
  EXPECT_EQ(documents_.pages(id).size(), 3u);
}

TEST_F(DocumentCacheTest, GivesUpTheLongestUnusedAndNoMoreThanIsNeeded) {
  const DocumentId a = Kept(3);
  const DocumentId b = Kept(3);
  const DocumentId c = Kept(3);
  // Reading it makes it the newest.
  documents_.AddUser(a);
  documents_.Pin(a);
  Leave(a);
  documents_.MakeRoom(4);
  EXPECT_THAT(documents_.forgotten(), ElementsAre(b));
  documents_.MakeRoom(5);
  EXPECT_THAT(documents_.forgotten(), ElementsAre(b, c));
  EXPECT_EQ(documents_.state(a), State::kReady);
}

TEST_F(DocumentCacheTest, FlushGivesUpAllThatNobodyReads) {
  Kept(2);
  const DocumentId read = Read(3);
  Kept(2);
  documents_.Flush();
  EXPECT_EQ(pool_.leased(), 3u);
  EXPECT_EQ(documents_.num_kept(), 0u);
  Leave(read);
  documents_.Flush();
  EXPECT_EQ(pool_.leased(), 0u);
}

TEST_F(DocumentCacheTest, OneThatIsWaitedForIsIdleAgainWhenItIsGivenUp) {
  const DocumentId id = Kept(3);
  documents_.AddUser(id);  // waits for its admission
  documents_.MakeRoom(kPages);
  EXPECT_EQ(documents_.state(id), State::kIdle);
  EXPECT_THAT(documents_.forgotten(), IsEmpty());
  documents_.DropUser(id);
  EXPECT_THAT(documents_.forgotten(), ElementsAre(id));
}

TEST_F(DocumentCacheTest, AnEncodeGoesOnWhileAnybodyUsesIt) {
  const DocumentId id = documents_.Add(kSlots);
  documents_.Pin(id);
  documents_.Start(id);
  documents_.AddUser(id);  // waits
  Leave(id);               // the first requester
  EXPECT_EQ(documents_.state(id), State::kEncoding);
  documents_.FinishEncoding(id);
  EXPECT_EQ(documents_.evictable_pages(), 1u) << "no one admitted reads it";
  documents_.Pin(id);
  Leave(id);
  EXPECT_EQ(documents_.state(id), State::kReady);
}

TEST_F(DocumentCacheTest, AnEncodeThatNobodyUsesEnds) {
  const DocumentId id = documents_.Add(kSlots);
  documents_.Pin(id);
  documents_.Start(id);
  Leave(id);
  EXPECT_EQ(pool_.leased(), 0u);
  EXPECT_THAT(documents_.forgotten(), ElementsAre(id));
}

TEST_F(DocumentCacheTest, IdsAreNotUsedAgainBeforeForgettingIsSeen) {
  const DocumentId a = documents_.Add(kSlots);
  documents_.DropUser(a);
  const DocumentId b = documents_.Add(kSlots);
  EXPECT_NE(b, a);
  documents_.ClearForgotten();
  const DocumentId c = documents_.Add(kSlots);
  EXPECT_EQ(c, a);
  documents_.DropUser(b);
  documents_.DropUser(c);
}

TEST(DocumentsNotKept, AreForgottenWithTheirLastUser) {
  PagePool pool(kPages);
  DocumentCache documents(pool, kSlots, false);
  const DocumentId id = documents.Add(kSlots);
  documents.Pin(id);
  documents.Start(id);
  documents.FinishEncoding(id);
  documents.AddUser(id);
  documents.Unpin(id);
  documents.DropUser(id);
  EXPECT_EQ(documents.state(id), State::kReady) << "a sequence waits to read it";
  documents.DropUser(id);
  EXPECT_THAT(documents.forgotten(), ElementsAre(id));
  EXPECT_EQ(pool.leased(), 0u);
}

}  // namespace
}  // namespace precis
