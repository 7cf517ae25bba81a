// Letters, digits and marks that Unicode 15.1 and 16 brought, as members of an RE2 class: the
// tables of Hugging Face tokenizers 0.22 have them, those of RE2 in Debian 12 are older. Called by
// whoever writes such a class. Thread rule: constants.
#pragma once

namespace precis {

inline constexpr char kNewLetters[] =
    R"(\x{1C89}\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"
    R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{13460}-\x{143FA})"
    R"(\x{16100}-\x{1611D}\x{16D40}-\x{16D6C}\x{18CFF}\x{1E5D0}-\x{1E5ED}\x{1E5F0})"
    R"(\x{2EBF0}-\x{2EE5D})";

inline constexpr char kNewDigits[] =
    R"(\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{16130}-\x{16139})"
    R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1E5F1}-\x{1E5FA})";

inline constexpr char kNewMarks[] =
    R"(\x{897}\x{10D69}-\x{10D6D}\x{10EFC}\x{113B8}-\x{113C0}\x{113C2}\x{113C5}\x{113C7}-\x{113CA})"
    R"(\x{113CC}-\x{113D0}\x{113D2}\x{113E1}\x{113E2}\x{11F5A}\x{1611E}-\x{1612F}\x{1E5EE}\x{1E5EF})";

}  // namespace precis
