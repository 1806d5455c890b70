// SPDX-License-Identifier: MIT
//
// The command line, --name value or --name=value. What is wrong with it is said in a message that
// names the option.

#ifndef KESTREL_EXAMPLES_ARGUMENTS_HPP
#define KESTREL_EXAMPLES_ARGUMENTS_HPP

#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace command_line {

// What was wrong on the command line, in words for the user.
class usage_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// The arguments, one after the other.
class arguments {
public:
  arguments(int argc, const char* const* argv) : argc_{argc}, argv_{argv} {}

  // The next option, or nothing when all have been read.
  std::optional<std::string_view> next_option() {
    if (inline_value_) {
      throw usage_error{std::string{option_} + " takes no value"};
    }
    if (index_ >= argc_) {
      return std::nullopt;
    }
    option_ = argv_[index_++];
    if (const auto equals = option_.find('='); equals != std::string_view::npos) {
      inline_value_ = option_.substr(equals + 1);
      option_ = option_.substr(0, equals);
    }
    return option_;
  }

  std::string_view value() {
    if (inline_value_) {
      const std::string_view v = *inline_value_;
      inline_value_.reset();
      return v;
    }
    if (index_ >= argc_) {
      throw usage_error{std::string{option_} + " needs a value"};
    }
    return argv_[index_++];
  }

  std::uint64_t integer(std::uint64_t min, std::uint64_t max) { return number(value(), min, max); }

  std::chrono::milliseconds milliseconds_value(std::uint64_t min, std::uint64_t max) {
    return to_milliseconds(integer(min, max));
  }

  // "low:high"
  void milliseconds_range(std::chrono::milliseconds& low, std::chrono::milliseconds& high) {
    const std::string_view text = value();
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) {
      reject(text, "is no range low:high");
    }
    const std::uint64_t first = number(text.substr(0, colon), 1, 3'600'000);
    low = to_milliseconds(first);
    high = to_milliseconds(number(text.substr(colon + 1), first, 3'600'000));
  }

  [[noreturn]] void reject(std::string_view text, std::string_view why) const {
    throw usage_error{std::string{option_} + ": '" + std::string{text} + "' " + std::string{why}};
  }

private:
  static std::chrono::milliseconds to_milliseconds(std::uint64_t n) {
    return std::chrono::milliseconds{static_cast<std::chrono::milliseconds::rep>(n)};
  }

  std::uint64_t number(std::string_view text, std::uint64_t min, std::uint64_t max) const {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size() || n < min || n > max) {
      reject(text, "is no whole number from " + std::to_string(min) + " to " + std::to_string(max));
    }
    return n;
  }

  int argc_;
  const char* const* argv_;
  int index_ = 1;
  std::string_view option_;
  std::optional<std::string_view> inline_value_;
};

} // namespace command_line

#endif // KESTREL_EXAMPLES_ARGUMENTS_HPP
