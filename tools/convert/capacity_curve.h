// QCQA's quality-capacity curve: what the least weight error is for every KV capacity, as CSV and
// as a plot. Called by the conversion. Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "tools/convert/convert.h"

namespace precis {

// A line of column names, then one a point.
std::string CurveCsv(const std::vector<CapacityPoint>& curve);
// An SVG: errors over KV bytes of a token, QCQA's as lines and GQA's as points. `chosen`: KV heads
// of the point that was taken.
std::string CurveSvg(const std::vector<CapacityPoint>& curve, double chosen);

}  // namespace precis
