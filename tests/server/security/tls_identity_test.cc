// Certificates by the clock: what a reload must not put into force.
#include "server/security/tls_identity.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/log.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/security/tls.h"

namespace precis {
namespace {

using testing::HasSubstr;

constexpr int64_t kDay = 86400;

struct Freed {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

// A certificate and its key; without an issuer, its own.
struct Signed {
  std::unique_ptr<EVP_PKEY, Freed> key;
  std::unique_ptr<X509, Freed> certificate;
};

Signed Make(const std::string& name, int64_t starts_in, int64_t ends_in,
            const Signed* issuer = nullptr) {
  Signed out{std::unique_ptr<EVP_PKEY, Freed>(EVP_EC_gen("P-256")),
             std::unique_ptr<X509, Freed>(X509_new())};
  X509* certificate = out.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), starts_in);
  X509_gmtime_adj(X509_getm_notAfter(certificate), ends_in);
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(
      certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate.get()));
  X509_set_pubkey(certificate, out.key.get());
  EVP_PKEY* signer = issuer == nullptr ? out.key.get() : issuer->key.get();
  EXPECT_GT(X509_sign(certificate, signer, EVP_sha256()), 0);
  return out;
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

std::string CertificateText(const Signed& of) {
  const std::unique_ptr<BIO, Freed> bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_X509(bio.get(), of.certificate.get()), 1);
  return TextOf(bio.get());
}

std::string KeyText(const Signed& of) {
  const std::unique_ptr<BIO, Freed> bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(
      PEM_write_bio_PrivateKey(bio.get(), of.key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
  return TextOf(bio.get());
}

class TlsIdentityTest : public testing::Test {
 protected:
  void SetUp() override {
    spdlog::set_level(spdlog::level::off);
    folder_ = testing::TempDir() + fmt::format("precis_tls_{}", getpid());
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
    std::filesystem::permissions(Path(name), std::filesystem::perms(0600));
  }
  // As --tls-cert and --tls-key; `chain` stands behind.
  void Put(const Signed& of, const std::string& chain = "") const {
    Write("crt", CertificateText(of) + chain);
    Write("key", KeyText(of));
  }
  ServerOptions Options(bool mutual = false) const {
    ServerOptions options;
    options.tls_cert = Path("crt");
    options.tls_key = Path("key");
    if (mutual) options.tls_client_ca = Path("ca");
    return options;
  }

  std::string folder_;
};

TEST_F(TlsIdentityTest, ReadsWhenItIsGood) {
  Put(Make("one", -kDay, 2 * kDay));
  const auto identity = ReadTlsIdentity(Path("crt"), Path("key"));
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->subject, "CN=one");
  EXPECT_NEAR(static_cast<double>(identity->starts_s - std::time(nullptr) + kDay), 0, 600);
  EXPECT_NEAR(static_cast<double>(identity->expires_s - std::time(nullptr) - 2 * kDay), 0, 600);
}

TEST_F(TlsIdentityTest, IsNotGoodWithoutTheOneThatSignedIt) {
  const Signed root = Make("root", -9 * kDay, -kDay);
  const Signed middle = Make("middle", -9 * kDay, kDay, &root);
  const Signed leaf = Make("leaf", -2 * kDay, 9 * kDay, &middle);
  Put(leaf, CertificateText(middle) + CertificateText(root));
  const auto identity = ReadTlsIdentity(Path("crt"), Path("key"));
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_NEAR(static_cast<double>(identity->expires_s - std::time(nullptr) - kDay), 0, 600);
  // A root is the client's own, whatever stands in the file.
  const Signed direct = Make("direct", -kDay, 9 * kDay, &root);
  Put(direct, CertificateText(root));
  EXPECT_GT(ReadTlsIdentity(Path("crt"), Path("key"))->expires_s, std::time(nullptr) + 8 * kDay);
}

TEST_F(TlsIdentityTest, AuthoritiesAreGoodWhileOneIs) {
  Write("ca",
        CertificateText(Make("old", -9 * kDay, -kDay)) + CertificateText(Make("new", -kDay, kDay)));
  const auto both = ReadTlsAuthorities(Path("ca"));
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(CheckTime("ca", both->starts_s, both->expires_s, std::time(nullptr)), OkStatus());
}

TEST_F(TlsIdentityTest, TheTimeIsToldWithTheFile) {
  EXPECT_EQ(CheckTime("f", 0, 86400, 86400).message(), "f: has expired, on 1970-01-02 00:00 UTC");
  EXPECT_EQ(CheckTime("f", 86400, 2 * 86400, 0).message(),
            "f: is not good before 1970-01-02 00:00 UTC");
  EXPECT_EQ(CheckTime("f", 0, 86400, 0), OkStatus());
}

TEST_F(TlsIdentityTest, AReloadKeepsAGoodOneInsteadOfOneThatIsNotGoodNow) {
  const ServerOptions options = Options();
  ServerTls tls(options);
  Put(Make("good", -kDay, kDay));
  ASSERT_EQ(tls.Load(), OkStatus());
  const int64_t good = tls.expires_s();
  Put(Make("expired", -2 * kDay, -kDay));
  EXPECT_THAT(std::string(tls.Load().message()), HasSubstr(Path("crt") + ": has expired, on"));
  Put(Make("early", kDay, 9 * kDay));
  EXPECT_THAT(std::string(tls.Load().message()), HasSubstr(Path("crt") + ": is not good before"));
  EXPECT_EQ(tls.expires_s(), good);
  Put(Make("next", -kDay, 5 * kDay));
  EXPECT_EQ(tls.Load(), OkStatus());
  EXPECT_GT(tls.expires_s(), good);
}

TEST_F(TlsIdentityTest, AReloadKeepsAuthoritiesAndCertificateTogether) {
  const ServerOptions options = Options(true);
  ServerTls tls(options);
  Put(Make("good", -kDay, kDay));
  Write("ca", CertificateText(Make("ca", -kDay, kDay)));
  ASSERT_EQ(tls.Load(), OkStatus());
  const int64_t good = tls.expires_s();
  Put(Make("next", -kDay, 5 * kDay));
  Write("ca", CertificateText(Make("ca", -2 * kDay, -kDay)));
  EXPECT_THAT(std::string(tls.Load().message()), HasSubstr(Path("ca") + ": has expired"));
  EXPECT_EQ(tls.expires_s(), good) << "nothing of a bad set is taken";
}

TEST_F(TlsIdentityTest, AStartTakesWhatThereIs) {
  const ServerOptions options = Options();
  Put(Make("expired", -2 * kDay, -kDay));
  ServerTls tls(options);
  EXPECT_EQ(tls.Load(), OkStatus()) << "who does not look at the clock is served";
}

}  // namespace
}  // namespace precis
