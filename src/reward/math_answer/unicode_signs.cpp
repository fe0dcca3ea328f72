#include "src/reward/math_answer/unicode_signs.hpp"

#include <algorithm>
#include <array>

#include "src/text/utf8.hpp"

namespace athanor::math {
namespace {

struct Sign {
  std::string_view character, latex;
};

constexpr std::array kUnicodeSigns{Sign{"−", "-"},
                                   Sign{"–", "-"},
                                   Sign{"—", "-"},
                                   Sign{"‐", "-"},
                                   Sign{"‑", "-"},
                                   Sign{"×", "\\times "},
                                   Sign{"·", "\\cdot "},
                                   Sign{"⋅", "\\cdot "},
                                   Sign{"∙", "\\cdot "},
                                   Sign{"•", "\\cdot "},
                                   Sign{"÷", "\\div "},
                                   Sign{"∕", "/"},
                                   Sign{"⁄", "/"},
                                   Sign{"∗", "*"},
                                   Sign{"±", "\\pm "},
                                   Sign{"∓", "\\mp "},
                                   Sign{"≤", "\\le "},
                                   Sign{"⩽", "\\le "},
                                   Sign{"≥", "\\ge "},
                                   Sign{"⩾", "\\ge "},
                                   Sign{"≠", "\\ne "},
                                   Sign{"≈", "\\approx "},
                                   Sign{"≡", "\\equiv "},
                                   Sign{"√", "\\sqrt "},
                                   Sign{"∛", "\\sqrt[3]"},
                                   Sign{"∞", "\\infty "},
                                   Sign{"°", "^\\circ "},
                                   Sign{"º", "^\\circ "},
                                   Sign{"∅", "\\emptyset "},
                                   Sign{"⌀", "\\emptyset "},
                                   Sign{"∪", "\\cup "},
                                   Sign{"∩", "\\cap "},
                                   Sign{"∈", "\\in "},
                                   Sign{"∖", "\\setminus "},
                                   Sign{"ℝ", "\\mathbb{R}"},
                                   Sign{"ℕ", "\\mathbb{N}"},
                                   Sign{"ℤ", "\\mathbb{Z}"},
                                   Sign{"ℚ", "\\mathbb{Q}"},
                                   Sign{"ℂ", "\\mathbb{C}"},
                                   Sign{"∑", "\\sum "},
                                   Sign{"∏", "\\prod "},
                                   Sign{"∫", "\\int "},
                                   Sign{"→", "\\to "},
                                   Sign{"⌊", "\\lfloor "},
                                   Sign{"⌋", "\\rfloor "},
                                   Sign{"⌈", "\\lceil "},
                                   Sign{"⌉", "\\rceil "},
                                   Sign{"∣", "|"},
                                   Sign{"｜", "|"},
                                   Sign{"½", "\\frac{1}{2}"},
                                   Sign{"⅓", "\\frac{1}{3}"},
                                   Sign{"⅔", "\\frac{2}{3}"},
                                   Sign{"¼", "\\frac{1}{4}"},
                                   Sign{"¾", "\\frac{3}{4}"},
                                   Sign{"⅕", "\\frac{1}{5}"},
                                   Sign{"⅖", "\\frac{2}{5}"},
                                   Sign{"⅗", "\\frac{3}{5}"},
                                   Sign{"⅘", "\\frac{4}{5}"},
                                   Sign{"⅙", "\\frac{1}{6}"},
                                   Sign{"⅚", "\\frac{5}{6}"},
                                   Sign{"⅛", "\\frac{1}{8}"},
                                   Sign{"⅜", "\\frac{3}{8}"},
                                   Sign{"⅝", "\\frac{5}{8}"},
                                   Sign{"⅞", "\\frac{7}{8}"},
                                   Sign{"α", "\\alpha "},
                                   Sign{"β", "\\beta "},
                                   Sign{"γ", "\\gamma "},
                                   Sign{"δ", "\\delta "},
                                   Sign{"ε", "\\epsilon "},
                                   Sign{"θ", "\\theta "},
                                   Sign{"λ", "\\lambda "},
                                   Sign{"μ", "\\mu "},
                                   Sign{"µ", "\\mu "},
                                   Sign{"π", "\\pi "},
                                   Sign{"ρ", "\\rho "},
                                   Sign{"σ", "\\sigma "},
                                   Sign{"τ", "\\tau "},
                                   Sign{"φ", "\\phi "},
                                   Sign{"ϕ", "\\phi "},
                                   Sign{"ω", "\\omega "},
                                   Sign{"Δ", "\\Delta "},
                                   Sign{"Ω", "\\Omega "},
                                   Sign{"′", "'"},
                                   Sign{"’", "'"},
                                   Sign{"‘", "'"},
                                   Sign{"“", "\""},
                                   Sign{"”", "\""},
                                   Sign{"（", "("},
                                   Sign{"）", ")"},
                                   Sign{"［", "["},
                                   Sign{"］", "]"},
                                   Sign{"｛", "{"},
                                   Sign{"｝", "}"},
                                   Sign{"，", ","},
                                   Sign{"、", ","},
                                   Sign{"；", ";"},
                                   Sign{"：", ":"},
                                   Sign{"＝", "="},
                                   Sign{"＋", "+"},
                                   Sign{"－", "-"},
                                   Sign{"／", "/"},
                                   Sign{"＜", "<"},
                                   Sign{"＞", ">"},
                                   Sign{"％", "%"},
                                   Sign{"￥", "¥"},
                                   Sign{"\u00A0", " "},
                                   Sign{"\u2009", " "},
                                   Sign{"\u202F", " "},
                                   Sign{"\u2003", " "},
                                   Sign{"\u2002", " "},
                                   Sign{"\u3000", " "},
                                   Sign{"\u200B", ""},
                                   Sign{"\uFEFF", ""},
                                   Sign{"\u2061", ""},
                                   Sign{"\u2062", "*"}};

constexpr std::array<std::string_view, 12> kRaised{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹", "⁻", "⁺"};
constexpr std::array<std::string_view, 10> kLowered{"₀", "₁", "₂", "₃", "₄", "₅", "₆", "₇", "₈", "₉"};
constexpr std::string_view kPlain = "0123456789-+";

template <std::size_t N>
std::string run_of(std::string_view text, std::size_t& position, const std::array<std::string_view, N>& characters) {
  std::string digits;
  for (bool found = true; found;) {
    found = false;
    for (std::size_t i = 0; i < N && !found; ++i)
      if (text.substr(position).starts_with(characters[i])) {
        digits += kPlain[i];
        position += characters[i].size();
        found = true;
      }
  }
  return digits;
}

}  // namespace

void append_sign(std::string_view text, std::size_t& position, std::string& out) {
  const Utf8Step step = utf8_step(text, position);
  if (step.state != Utf8State::complete) {
    out += kReplacementCharacter;
    position += std::max<std::size_t>(step.length, 1);
    return;
  }
  const std::string_view character = text.substr(position, step.length);
  position += step.length;
  // Full-width digits and letters are ASCII, moved: U+FF10 is '0', U+FF21 'A', U+FF41 'a'.
  if (character.size() == 3 && character[0] == '\xEF' && (character[1] == '\xBC' || character[1] == '\xBD')) {
    const unsigned low = static_cast<unsigned char>(character[2]) & 0x3Fu;
    const unsigned moved = (character[1] == '\xBC' ? low : low + 64u) + 0x20u;
    const char ascii = static_cast<char>(moved);
    if (moved < 0x7F &&
        ((ascii >= '0' && ascii <= '9') || (ascii >= 'A' && ascii <= 'Z') || (ascii >= 'a' && ascii <= 'z'))) {
      out += ascii;
      return;
    }
  }
  const auto known = std::find_if(kUnicodeSigns.begin(), kUnicodeSigns.end(),
                                  [&](const Sign& sign) { return sign.character == character; });
  out += known == kUnicodeSigns.end() ? character : known->latex;
}

bool append_raised_digits(std::string_view text, std::size_t& position, std::string& out) {
  if (const std::string raised = run_of(text, position, kRaised); !raised.empty()) {
    out += "^{" + raised + "}";
    return true;
  }
  if (const std::string lowered = run_of(text, position, kLowered); !lowered.empty()) {
    out += "_{" + lowered + "}";
    return true;
  }
  return false;
}

}  // namespace athanor::math
