// The families of models that are served. To add one: a file beside this one that fills an
// Architecture, and a row in the table of family.cc. The README's table of models is made of it.
// Called at load; functions, no state.
#pragma once

#include <span>
#include <string_view>

#include "common/status.h"
#include "engine/model/checkpoint/json_file.h"
#include "engine/model/families/architecture.h"

namespace precis {

struct Family {
  std::string_view model_type;
  std::string_view models;    // for people: "BART, DistilBART"
  std::string_view fixtures;  // folders of tests/golden that prove it, separated by spaces
  StatusOr<Architecture> (*describe)(const JsonKeys& config);
  TensorNames (*names)();
};
std::span<const Family> ServedFamilies();

// By model_type. UNIMPLEMENTED, naming those that are served, for another; errors name file and
// key.
StatusOr<Architecture> DescribeArchitecture(const JsonKeys& config);

// `config`: the members of config.json. A key that is not there has the family's default in
// transformers 5.5.4. UNIMPLEMENTED for what such a config may say and we do not serve.
StatusOr<Architecture> DescribeT5(const JsonKeys& config);
StatusOr<Architecture> DescribeMt5(const JsonKeys& config);
StatusOr<Architecture> DescribeUmt5(const JsonKeys& config);
StatusOr<Architecture> DescribeBart(const JsonKeys& config);

// The names of their tensors. T5Names() and Mt5Names(): t5_common.h.
TensorNames BartNames();

}  // namespace precis
