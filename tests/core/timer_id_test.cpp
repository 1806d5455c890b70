// SPDX-License-Identifier: MIT
//
// timer_id is a value: it compares, hashes, prints and survives a round trip through its number.

#include <kestrel/timer_id.hpp>

#include <catch.hpp>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <sstream>
#include <type_traits>
#include <unordered_set>
#include <vector>

using kestrel::timer_id;

TEST_CASE("A default-made id is no timer's", "[timer_id]") {
  constexpr timer_id id;
  STATIC_REQUIRE_FALSE(static_cast<bool>(id));
  STATIC_REQUIRE(id.value() == 0);
  STATIC_REQUIRE(id == timer_id{});
  STATIC_REQUIRE(static_cast<bool>(timer_id(0, 1)));
}

TEST_CASE("An id is a cheap value and does not turn into a number by itself", "[timer_id]") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<timer_id>);
  STATIC_REQUIRE(sizeof(timer_id) == 8);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<timer_id, bool>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<timer_id, std::uint64_t>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<std::uint64_t, timer_id>);
}

TEST_CASE("The index is the low half of the value, the generation the high half", "[timer_id]") {
  constexpr timer_id id(0x1234'5678u, 0x9abc'def1u);
  STATIC_REQUIRE(id.index() == 0x1234'5678u);
  STATIC_REQUIRE(id.generation() == 0x9abc'def1u);
  STATIC_REQUIRE(id.value() == 0x9abc'def1'1234'5678u);
}

TEST_CASE("An id survives the round trip through its value", "[timer_id]") {
  const std::uint64_t value = GENERATE(as<std::uint64_t>{}, 0, 1, 0x1'0000'0000u, 0xffff'ffffu,
                                       0x8000'0000'8000'0000u, ~std::uint64_t{0});
  CHECK(timer_id::from_value(value).value() == value);
  const timer_id id = timer_id::from_value(value);
  CHECK(timer_id(id.index(), id.generation()) == id);
}

TEST_CASE("Ids are totally ordered", "[timer_id]") {
  STATIC_REQUIRE(std::is_same_v<decltype(timer_id{} <=> timer_id{}), std::strong_ordering>);
  const timer_id a(1, 1);
  const timer_id b(2, 1);
  const timer_id c(0, 2);
  CHECK(a != b);
  CHECK(a < b);
  CHECK(b < c);
  CHECK(c >= a);
  const std::map<timer_id, int> sorted{{c, 3}, {a, 1}, {b, 2}};
  CHECK(sorted.begin()->second == 1);
  CHECK(sorted.rbegin()->second == 3);
}

TEST_CASE("An id prints its index and its generation", "[timer_id]") {
  std::ostringstream out;
  out << timer_id(7, 4'000'000'001u) << ' ' << timer_id{};
  CHECK(out.str() == "7.4000000001 0.0");
  std::wostringstream wide;
  wide << timer_id(7, 3);
  CHECK(wide.str() == L"7.3");
}

namespace {

// How full the fullest of 4096 buckets is, when each id goes to the bucket of its lowest or highest
// bits.
struct fill {
  std::vector<std::size_t> low = std::vector<std::size_t>(4096);
  std::vector<std::size_t> high = std::vector<std::size_t>(4096);

  void add(timer_id id) {
    const std::size_t hash = std::hash<timer_id>{}(id);
    ++low[hash & 4095];
    ++high[hash >> (sizeof(hash) * 8 - 12)];
  }

  [[nodiscard]] std::size_t fullest() const {
    return std::max(*std::max_element(low.begin(), low.end()),
                    *std::max_element(high.begin(), high.end()));
  }
};

} // namespace

TEST_CASE("Equal ids hash alike", "[timer_id]") {
  CHECK(std::hash<timer_id>{}(timer_id(3, 5)) == std::hash<timer_id>{}(timer_id(3, 5)));
  CHECK(std::hash<timer_id>{}(timer_id(3, 5)) != std::hash<timer_id>{}(timer_id(5, 3)));
}

TEST_CASE("The hash spreads dense ids over tables that use only some of its bits", "[timer_id]") {
  // 4096 ids in 4096 buckets: a random function leaves about seven in the fullest.
  SECTION("neighbouring slots of one generation") {
    fill f;
    for (std::uint32_t i = 0; i != 4096; ++i)
      f.add({i, 1});
    CHECK(f.fullest() <= 10);
  }
  SECTION("generations of one slot") {
    fill f;
    for (std::uint32_t i = 0; i != 4096; ++i)
      f.add({7, 2 * i + 1});
    CHECK(f.fullest() <= 10);
  }
  SECTION("some generations of some slots") {
    fill f;
    for (std::uint32_t i = 0; i != 64; ++i) {
      for (std::uint32_t g = 0; g != 64; ++g)
        f.add({i, 0x9E37'79B9u + 2 * g});
    }
    CHECK(f.fullest() <= 10);
  }
}

TEST_CASE("Ids are keys of the unordered containers", "[timer_id]") {
  std::unordered_set<timer_id> ids;
  for (std::uint32_t i = 0; i != 1000; ++i)
    ids.insert({i % 100, i / 100 * 2 + 1});
  CHECK(ids.size() == 1000);
  CHECK(ids.count({5, 3}) == 1);
  CHECK(ids.count({5, 4}) == 0);
}

#if defined(__cpp_lib_format)
TEST_CASE("An id is formatted as it is printed", "[id]") {
  CHECK(std::format("{}", kestrel::timer_id(3, 5)) == "3.5");
  CHECK(std::format(L"{}", kestrel::timer_id(3, 5)) == L"3.5");
}
#endif
