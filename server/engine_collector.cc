#include "server/engine_collector.h"

#include "server/observe/metric_families.h"

namespace precis {

std::vector<prometheus::MetricFamily> EngineCollector::Collect() const {
  const EngineStats s = engine_.stats();
  const uint32_t used = s.pages_self + s.pages_cross + s.pages_cached + s.pages_promised;
  // A snapshot, but not one instant: never show a free count below zero.
  const uint32_t free = s.pages_total > used ? s.pages_total - used : 0;

  MetricFamilies f;
  f.Gauge("precis_admitted_requests", "Requests accepted and unfinished.",
          static_cast<double>(admission_.requests()));
  f.Gauge("precis_admitted_tokens",
          "Source and beams x new tokens of the requests accepted and unfinished.",
          static_cast<double>(admission_.tokens()));
  f.Gauge("precis_unread_bytes", "Bytes of replies that wait for their clients to take them.",
          static_cast<double>(unread_.bytes()));
  f.Gauge("precis_waiting_sequences", "Sequences whose encoder work has not begun.", s.waiting);
  f.Gauge("precis_encoding_sequences", "Sequences whose document is being encoded.", s.encoding);
  f.Gauge("precis_decoding_sequences", "Sequences that get a token in every step.", s.decoding);
  f.GaugeBy("precis_pool_pages", "Pages of the pool by what they are for; the kinds add up to it.",
            "kind",
            {{"self", s.pages_self},
             {"cross", s.pages_cross},
             {"cached", s.pages_cached},
             {"promised", s.pages_promised},
             {"free", free}});
  f.Gauge("precis_pool_peak_pages", "Most pages leased at once since the start.", s.pages_peak);
  f.Gauge("precis_pool_page_bytes", "Bytes of one page.", static_cast<double>(s.page_bytes));
  f.Gauge("precis_progress_age_seconds", "Time since the last step while there is work, else 0.",
          s.seconds_since_progress);
  f.Gauge("precis_cached_documents", "Documents kept encoded that nobody reads at the moment.",
          s.cached_documents);
  f.CounterBy("precis_document_uses_total",
              "Admitted sequences by how they came by their encoded document.", "use",
              {{"encoded", s.cache_misses}, {"joined", s.cache_joins}, {"ready", s.cache_hits}});
  f.Counter("precis_steps_total", "Steps of the engine.", s.steps);
  f.Counter("precis_failed_steps_total",
            "Steps that failed, and the requests that they worked for.", s.failed_steps);
  f.Gauge("precis_device_failed", "1 since the device has failed for good.",
          s.device_failed ? 1 : 0);
  f.Counter("precis_decode_steps_total", "Steps that decoded at least one sequence.",
            s.decode_steps);
  f.Counter("precis_decode_rows_total",
            "Rows decoded (sequences, beams, drafts), summed over steps.", s.decode_rows);
  f.Counter("precis_encoded_tokens_total", "Source tokens encoded.", s.encoded_tokens);
  f.Counter("precis_generated_tokens_total", "Tokens generated.", s.generated_tokens);
  f.CounterBy(
      "precis_draft_tokens_total", "Drafted tokens that were verified, by outcome.", "outcome",
      {{"accepted", s.accepted_tokens}, {"rejected", s.drafted_tokens - s.accepted_tokens}});
  return f.Take();
}

}  // namespace precis
