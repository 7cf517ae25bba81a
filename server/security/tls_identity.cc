#include "server/security/tls_identity.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "fmt/chrono.h"
#include "fmt/format.h"
#include "server/security/guarded_file.h"

namespace precis {
namespace {

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;

// What OpenSSL says last; its queue is empty then.
std::string LastError() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown reason" : reason;
}

Bio ReaderOf(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

// Never asks on a terminal.
int NoPassword(char*, int, int, void*) { return 0; }

StatusOr<std::vector<Certificate>> ReadCertificates(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(const std::string text, ReadGuardedFile(path, FileRule::kPublic));
  const Bio bio = ReaderOf(text);
  std::vector<Certificate> out;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)) {
    out.emplace_back(certificate);
  }
  // The end of the text is an error of that name; any other one is a fault of the file.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string error = LastError();
  if (out.empty() || !at_end) {
    return InvalidArgument(fmt::format("{}: is not a certificate in PEM: {}", path, error));
  }
  return out;
}

StatusOr<Key> ReadKey(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(const std::string text, ReadGuardedFile(path, FileRule::kSecret));
  Key key(PEM_read_bio_PrivateKey(ReaderOf(text).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) {
    return InvalidArgument(
        fmt::format("{}: is not a private key in PEM without a password: {}", path, LastError()));
  }
  return key;
}

constexpr int64_t kYear10000 = 253'402'300'800;  // seconds since the epoch; X.509 ends before

// Since the epoch; `otherwise` when it cannot be read.
int64_t SecondsOf(const ASN1_TIME* asn1, int64_t otherwise) {
  std::tm time{};
  return ASN1_TIME_to_tm(asn1, &time) == 1 ? timegm(&time) : otherwise;
}

int64_t StartOf(const X509* certificate) {
  return SecondsOf(X509_get0_notBefore(certificate), kYear10000);
}

int64_t ExpiryOf(const X509* certificate) { return SecondsOf(X509_get0_notAfter(certificate), 0); }

std::string SubjectOf(const X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  return TextOf(bio.get());
}

// As TLS will use them.
Status CheckPair(X509* certificate, EVP_PKEY* key, const std::string& cert_path,
                 const std::string& key_path) {
  const Context context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Internal("OpenSSL has no memory for TLS");
  if (SSL_CTX_use_certificate(context.get(), certificate) != 1) {
    return InvalidArgument(fmt::format("{}: cannot be used: {}", cert_path, LastError()));
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return InvalidArgument(
        fmt::format("{}: is not the key of {}: {}", key_path, cert_path, LastError()));
  }
  return OkStatus();
}

}  // namespace

StatusOr<TlsIdentity> ReadTlsIdentity(const std::string& cert_path, const std::string& key_path) {
  PRECIS_ASSIGN_OR_RETURN(const auto chain, ReadCertificates(cert_path));
  PRECIS_ASSIGN_OR_RETURN(const Key key, ReadKey(key_path));
  PRECIS_RETURN_IF_ERROR(CheckPair(chain[0].get(), key.get(), cert_path, key_path));
  const Bio bio(BIO_new(BIO_s_mem()));
  bool written = PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                               nullptr) == 1;
  for (const Certificate& certificate : chain) {
    written = written && PEM_write_bio_X509(bio.get(), certificate.get()) == 1;
  }
  if (!written) return Internal(fmt::format("{}: cannot be copied: {}", cert_path, LastError()));
  TlsIdentity identity{.pem = TextOf(bio.get()),
                       .subject = SubjectOf(chain[0].get()),
                       .starts_s = StartOf(chain[0].get()),
                       .expires_s = ExpiryOf(chain[0].get())};
  // Who signed it must be good as well. Those above may be left over for old clients only, and
  // roots are the client's own.
  if (chain.size() > 1 && X509_check_issued(chain[1].get(), chain[0].get()) == X509_V_OK &&
      X509_check_issued(chain[1].get(), chain[1].get()) != X509_V_OK) {
    identity.starts_s = std::max(identity.starts_s, StartOf(chain[1].get()));
    identity.expires_s = std::min(identity.expires_s, ExpiryOf(chain[1].get()));
  }
  return identity;
}

StatusOr<TlsAuthorities> ReadTlsAuthorities(const std::string& path) {
  PRECIS_ASSIGN_OR_RETURN(const auto certificates, ReadCertificates(path));
  const Bio bio(BIO_new(BIO_s_mem()));
  TlsAuthorities out;
  out.starts_s = kYear10000;
  for (const Certificate& certificate : certificates) {
    out.starts_s = std::min(out.starts_s, StartOf(certificate.get()));
    out.expires_s = std::max(out.expires_s, ExpiryOf(certificate.get()));
    if (PEM_write_bio_X509(bio.get(), certificate.get()) != 1) {
      return Internal(fmt::format("{}: cannot be copied: {}", path, LastError()));
    }
  }
  out.pem = TextOf(bio.get());
  return out;
}

Status CheckTime(const std::string& path, int64_t starts_s, int64_t expires_s, int64_t now_s) {
  const auto text = [](int64_t seconds) {
    return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
  };
  if (expires_s <= now_s) {
    return InvalidArgument(fmt::format("{}: has expired, on {}", path, text(expires_s)));
  }
  if (starts_s > now_s) {
    return InvalidArgument(fmt::format("{}: is not good before {}", path, text(starts_s)));
  }
  return OkStatus();
}

}  // namespace precis
