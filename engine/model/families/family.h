// The families of models that are served. To add one: a file beside this one that fills an
// Architecture, and a line in the table of family.cc.
// Called at load; functions, no state.
#pragma once

#include "common/status.h"
#include "engine/model/checkpoint/json_file.h"
#include "engine/model/families/architecture.h"

namespace precis {

// By model_type. UNIMPLEMENTED, naming those that are served, for another; errors name file and
// key.
StatusOr<Architecture> DescribeArchitecture(const JsonKeys& config);

// `config`: the members of config.json. A key that is not there has the family's default in
// transformers 5.5.4. UNIMPLEMENTED for what such a config may say and we do not serve.
StatusOr<Architecture> DescribeT5(const JsonKeys& config);
StatusOr<Architecture> DescribeMt5(const JsonKeys& config);
StatusOr<Architecture> DescribeUmt5(const JsonKeys& config);

}  // namespace precis
