// What a request can do about a source that is too long: the end of each message that refuses one.
#pragma once

namespace precis {

inline constexpr char kReadOtherwise[] =
    "set long_document_policy: truncate reads its beginning, windows reads all of it";
inline constexpr char kSendInParts[] = "send it in parts";

}  // namespace precis
