// Whether the health service says SERVING: not while draining, not while the engine is stuck or the
// port does not answer, not after the device has failed.
//
// Owner: the server. Thread rule: any thread.
#pragma once

#include "common/mutex.h"
#include "grpcpp/health_check_service_interface.h"
#include "server/observe/metrics.h"

namespace precis {

inline constexpr char kServiceName[] = "precis.v1.SummarizationService";
inline constexpr char kOpenInferenceServiceName[] = "inference.GRPCInferenceService";

class Health {
 public:
  // `service` is the main port's, `port` that of --health-listen; either may be null.
  Health(grpc::HealthCheckServiceInterface* service, grpc::HealthCheckServiceInterface* port,
         ServerMetrics& metrics);

  void SetDraining();
  void SetStalled(bool stalled);
  void SetUnreachable(bool unreachable);
  void SetDeviceFailed();  // for good
  bool serving() const;

 private:
  bool Serving() const PRECIS_REQUIRES(mutex_) {
    return !draining_ && !stalled_ && !unreachable_ && !device_failed_;
  }
  void Tell() PRECIS_REQUIRES(mutex_);

  grpc::HealthCheckServiceInterface* const service_;
  grpc::HealthCheckServiceInterface* const port_;
  ServerMetrics& metrics_;
  mutable Mutex mutex_;
  bool draining_ PRECIS_GUARDED_BY(mutex_) = false;
  bool stalled_ PRECIS_GUARDED_BY(mutex_) = false;
  bool unreachable_ PRECIS_GUARDED_BY(mutex_) = false;
  bool device_failed_ PRECIS_GUARDED_BY(mutex_) = false;
};

}  // namespace precis
