// Times a loaded model, so that others can predict: the scheduler what encoder work costs, the
// planner of drafts what a decode step of so many rows costs. Takes a second or two.
//
// Owner: LoadModel(), before the model serves. Thread rule: one thread. A device that fails is not
// reported here: its error is there for the next Backend::Wait().
#pragma once

#include <cstdint>

#include "engine/decoding/token_picker.h"
#include "engine/drafting/step_cost.h"
#include "engine/run/model.h"
#include "engine/sched/encode_work.h"

namespace precis {

class Calibration {
 public:
  // `model` outlives it. What its pages hold is overwritten.
  explicit Calibration(Model& model);

  // Fits the scheduler's linear cost model at two lengths of document.
  EncodeCosts TimeEncoder();
  // Of 1 to max_batch rows.
  StepCost TimeSteps();

 private:
  double TimeItems(uint32_t tokens, EncodeStage stage);
  double TimeStep(uint32_t rows);

  Model& model_;
  DecodeBatch batch_;
  TokenPicker picker_;
};

}  // namespace precis
