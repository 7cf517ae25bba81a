// The interface through which other code sees the ops of a backend: to count, record, time or skip
// them, and in tests to look between two ops. It does not list the ops.
//
// Owner: whoever sets the observer; it outlives the ops that it sees. Thread rule: the thread that
// calls the ops.
#pragma once

namespace precis {

// One call of an op: its kind and its parameters, which live as long as the call.
class OpCall {
 public:
  template <typename Params>
  explicit OpCall(const Params& params) : kind_(&kKindOf<Params>), params_(&params) {}

  // The parameters of a call of this kind; null of any other.
  template <typename Params>
  const Params* As() const {
    return kind_ == &kKindOf<Params> ? static_cast<const Params*>(params_) : nullptr;
  }

 private:
  // Each kind has an address of its own.
  template <typename Params>
  static constexpr char kKindOf = 0;

  const char* const kind_;
  const void* const params_;
};

class OpObserver {
 public:
  virtual ~OpObserver() = default;
  // Before an op. False skips it: what it would write stays as it is.
  virtual bool Begin(const OpCall& /*op*/) { return true; }
  // After it, computed or skipped.
  virtual void End(const OpCall& /*op*/) {}
};

// Base of the classes that offer ops: shows each call to the observer.
class ObservedOps {
 protected:
  template <typename Params, typename Compute>
  void Observe(const Params& params, const Compute& compute) {
    if (observer_ == nullptr) [[likely]] {
      return compute();
    }
    const OpCall call(params);
    if (observer_->Begin(call)) compute();
    observer_->End(call);
  }

  OpObserver* observer_ = nullptr;
};

}  // namespace precis
