// Who is told of the ops of a backend: what counts, records or times them, and tests that look
// between two ops. Nothing of it lists the ops.
//
// Owner: whoever sets the observer; it outlives the ops it is told of. Thread rule: the thread that
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
  // Of each kind the address differs.
  template <typename Params>
  static constexpr char kKindOf = 0;

  const char* const kind_;
  const void* const params_;
};

class OpObserver {
 public:
  virtual ~OpObserver() = default;
  // Before an op. False: it is not computed, and what it would write stays as it is.
  virtual bool Begin(const OpCall& /*op*/) { return true; }
  // After it, whether it was computed or not.
  virtual void End(const OpCall& /*op*/) {}
};

// What ops are called through: it tells the observer of each.
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
