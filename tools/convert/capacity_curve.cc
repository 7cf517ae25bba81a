#include "tools/convert/capacity_curve.h"

#include <algorithm>

#include "fmt/format.h"

namespace precis {
namespace {

constexpr double kWidth = 640, kHeight = 360;
constexpr double kLeft = 64, kRight = 16, kTop = 40, kBottom = 48;
constexpr const char* kSelfColour = "#1f77b4";
constexpr const char* kCrossColour = "#d62728";
constexpr int kTicks = 5;

class Plot {
 public:
  explicit Plot(const std::vector<CapacityPoint>& curve) : curve_(curve) {
    for (const CapacityPoint& point : curve) {
      bytes_ = std::max(bytes_, static_cast<double>(point.bytes_per_token));
      error_ = std::max({error_, point.self_error, point.cross_error, point.gqa_self_error,
                         point.gqa_cross_error});
    }
    if (error_ <= 0) error_ = 1;
  }

  double X(double bytes) const { return kLeft + bytes / bytes_ * (kWidth - kLeft - kRight); }
  double Y(double error) const {
    return kHeight - kBottom - error / error_ * (kHeight - kTop - kBottom);
  }

  std::string Axes() const {
    std::string out;
    for (int i = 0; i <= kTicks; ++i) {
      const double bytes = bytes_ * i / kTicks;
      const double error = error_ * i / kTicks;
      out += fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' stroke='#ddd'/>\n",
                         kLeft, Y(error), kWidth - kRight, Y(error));
      out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='end'>{:.3g}</text>\n", kLeft - 6,
                         Y(error) + 4, error);
      out += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor='middle'>{:.0f}</text>\n",
                         X(bytes), kHeight - kBottom + 16, bytes);
    }
    return out;
  }

  std::string Line(double CapacityPoint::*error, const char* colour) const {
    std::string points;
    for (const CapacityPoint& point : curve_) {
      points += fmt::format("{:.1f},{:.1f} ", X(static_cast<double>(point.bytes_per_token)),
                            Y(point.*error));
    }
    return fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='1.5'/>\n",
                       points, colour);
  }

  std::string Dots(double CapacityPoint::*error, const char* colour) const {
    std::string out;
    for (const CapacityPoint& point : curve_) {
      if (point.*error < 0) continue;
      out += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='3.5' fill='{}'/>\n",
                         X(static_cast<double>(point.bytes_per_token)), Y(point.*error), colour);
    }
    return out;
  }

  std::string Chosen(double kv_heads) const {
    for (const CapacityPoint& point : curve_) {
      if (point.kv_heads != kv_heads) continue;
      const double x = X(static_cast<double>(point.bytes_per_token));
      return fmt::format(
          "<line x1='{0:.1f}' y1='{1:.1f}' x2='{0:.1f}' y2='{2:.1f}' stroke='#888' "
          "stroke-dasharray='4 3'/>\n",
          x, kTop, kHeight - kBottom);
    }
    return "";
  }

 private:
  const std::vector<CapacityPoint>& curve_;
  double bytes_ = 1;
  double error_ = 0;
};

std::string OrNothing(double error) { return error < 0 ? "" : fmt::format("{:.6g}", error); }

}  // namespace

std::string CurveCsv(const std::vector<CapacityPoint>& curve) {
  std::string out =
      "kv_heads,bytes_per_token,self_error,cross_error,gqa_self_error,gqa_cross_error\n";
  for (const CapacityPoint& point : curve) {
    out += fmt::format("{:.6g},{},{:.6g},{:.6g},{},{}\n", point.kv_heads, point.bytes_per_token,
                       point.self_error, point.cross_error, OrNothing(point.gqa_self_error),
                       OrNothing(point.gqa_cross_error));
  }
  return out;
}

std::string CurveSvg(const std::vector<CapacityPoint>& curve, double chosen) {
  const Plot plot(curve);
  std::string out = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' width='{0:.0f}' height='{1:.0f}' "
      "viewBox='0 0 {0:.0f} {1:.0f}' font-family='sans-serif' font-size='11'>\n"
      "<rect width='100%' height='100%' fill='white'/>\n",
      kWidth, kHeight);
  out += fmt::format(
      "<text x='{:.0f}' y='20'>weight error, as a share of the energy of all K and V "
      "weights; <tspan fill='{}'>self</tspan>, <tspan fill='{}'>cross</tspan>; "
      "lines QCQA, points GQA</text>\n",
      kLeft, kSelfColour, kCrossColour);
  out += fmt::format(
      "<text x='{:.0f}' y='{:.0f}' text-anchor='middle'>bytes of keys and values a "
      "token, all decoder layers</text>\n",
      (kLeft + kWidth - kRight) / 2, kHeight - 10);
  out += plot.Axes() + plot.Chosen(chosen);
  out += plot.Line(&CapacityPoint::self_error, kSelfColour);
  out += plot.Line(&CapacityPoint::cross_error, kCrossColour);
  out += plot.Dots(&CapacityPoint::gqa_self_error, kSelfColour);
  out += plot.Dots(&CapacityPoint::gqa_cross_error, kCrossColour);
  return out + "</svg>\n";
}

}  // namespace precis
