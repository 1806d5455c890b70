// SPDX-License-Identifier: MIT
//
// Chains of entries and their pool: a chain is walked in the order of appending, a walk may be left
// and resumed, and a pool that promised room for n entries has it however they are spread.

#include <kestrel/detail/entry_chain.hpp>

#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <vector>

using namespace kestrel::detail;

namespace {

using allocator = kestrel_tests::ledger_allocator<int>;
using pool_type = entry_pool<allocator>;

constexpr auto no_prefetch = [](std::uint32_t) {};

std::vector<std::uint32_t> indices(const entry_chain& chain) {
  std::vector<std::uint32_t> found;
  for_each_entry(chain, [&](entry e) { found.push_back(e.index); });
  return found;
}

// Appends the indices from `first` to before `last`.
void append(pool_type& pool, entry_chain& chain, std::uint32_t first, std::uint32_t last,
            std::uint32_t generation = 0) {
  for (std::uint32_t i = first; i != last; ++i)
    pool.append(chain, {i, generation});
}

} // namespace

TEST_CASE("A chunk is whole cache lines", "[chain]") {
  STATIC_REQUIRE(sizeof(entry_chunk) % 64 == 0);
  STATIC_REQUIRE(alignof(entry_chunk) == 64);
}

TEST_CASE("A chain is walked in the order of appending", "[chain]") {
  const std::uint32_t n = GENERATE(0u, 1u, 6u, 7u, 8u, 14u, 15u, 16u, 29u, 30u, 31u, 45u, 100u);
  kestrel_tests::ledger book;
  pool_type pool(1, allocator(book));
  pool.reserve_entries(n);
  entry_chain chain;
  std::vector<std::uint32_t> expected;
  for (std::uint32_t i = 0; i != n; ++i) {
    pool.append(chain, {i, 2 * i + 1});
    expected.push_back(i);
  }
  CHECK(chain.size == n);
  CHECK(indices(chain) == expected);

  entry_walk walk(chain);
  std::vector<std::uint32_t> walked;
  std::size_t wrong = 0;
  while (!walk.done()) {
    std::vector<std::uint32_t> rest;
    walk.for_each([&](entry e) { rest.push_back(e.index); });
    wrong += rest == std::vector(expected.begin() + static_cast<std::ptrdiff_t>(walked.size()),
                                 expected.end())
                 ? 0u
                 : 1u;
    wrong += walk.left() == rest.size() ? 0u : 1u;
    const entry e = walk.pop(pool, no_prefetch);
    wrong += e.generation == 2 * e.index + 1 ? 0u : 1u;
    walked.push_back(e.index);
  }
  CHECK(walked == expected);
  CHECK(wrong == 0);
}

TEST_CASE("A walk announces what it will return, and nothing else", "[chain]") {
  const std::uint32_t n = GENERATE(1u, 7u, 8u, 14u, 15u, 16u, 30u, 31u, 100u);
  kestrel_tests::ledger book;
  pool_type pool(1, allocator(book));
  pool.reserve_entries(n);
  entry_chain chain;
  append(pool, chain, 0, n, 1);
  std::vector<std::uint32_t> announced;
  entry_walk walk(chain);
  std::size_t wrong = 0;
  walk.look_ahead([&](std::uint32_t index) { announced.push_back(index); });
  for (std::uint32_t i = 0; !walk.done(); ++i) {
    walk.pop(pool, [&](std::uint32_t index) {
      wrong += index > i ? 0u : 1u;
      announced.push_back(index);
    });
  }
  CHECK(wrong == 0);
  // Each once.
  std::vector<std::uint32_t> expected(n);
  std::iota(expected.begin(), expected.end(), 0u);
  CHECK(announced == expected);
}

TEST_CASE("A walk shows each entry once before it is returned, and none too early", "[chain]") {
  const std::uint32_t n = GENERATE(1u, 2u, 14u, 15u, 16u, 30u, 31u, 100u);
  const std::uint32_t ahead = GENERATE(1u, 8u, 15u);
  const std::uint32_t pause = GENERATE(1u, 3u, 20u); // entries from one look to the next
  kestrel_tests::ledger book;
  pool_type pool(1, allocator(book));
  pool.reserve_entries(n);
  entry_chain chain;
  append(pool, chain, 0, n);
  entry_walk walk(chain);
  std::vector<std::uint32_t> seen;
  std::uint32_t walked = 0;
  while (!walk.done()) {
    const std::uint32_t last = std::min(walked + ahead, n); // of what may be seen
    walk.preview(ahead, [&](entry e) { seen.push_back(e.index); });
    REQUIRE(!seen.empty());
    CHECK(seen.back() == last - 1);
    for (std::uint32_t i = 0; i != pause && !walk.done(); ++i)
      CHECK(walk.pop(pool, no_prefetch).index == walked++);
  }
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  if (pause <= ahead)
    CHECK(seen.size() == n);
}

TEST_CASE("What was cleaned out of a walk is shown no longer, and the rest is", "[chain]") {
  kestrel_tests::ledger book;
  pool_type pool(1, allocator(book));
  pool.reserve_entries(40);
  entry_chain chain;
  append(pool, chain, 0, 40);
  entry_walk walk(chain);
  walk.pop(pool, no_prefetch);
  walk.preview(15, [](entry) {});
  walk.filter(
      pool, [](entry e) { return e.index % 10 == 0; }, no_prefetch);
  std::vector<std::uint32_t> seen;
  walk.preview(15, [&](entry e) { seen.push_back(e.index); });
  CHECK(seen == std::vector<std::uint32_t>{10, 20, 30});
}

TEST_CASE("What is left of a walk is cleaned in its order, and goes on", "[chain]") {
  const std::uint32_t n = GENERATE(1u, 2u, 14u, 15u, 16u, 30u, 31u, 100u);
  const std::uint32_t walked = GENERATE(0u, 1u, 14u, 15u, 16u, 29u, 99u);
  const std::uint32_t of = GENERATE(1u, 2u, 7u, 1000u); // one of so many stays
  if (walked >= n)
    return;
  kestrel_tests::ledger book;
  pool_type pool(1, allocator(book));
  pool.reserve_entries(n);
  const std::size_t allocations = book.allocations;
  entry_chain chain;
  append(pool, chain, 0, n);
  entry_walk walk(chain);
  for (std::uint32_t i = 0; i != walked; ++i)
    walk.pop(pool, no_prefetch);

  std::vector<std::uint32_t> expected;
  for (std::uint32_t i = walked; i != n; ++i) {
    if (i % of == of - 1)
      expected.push_back(i);
  }
  std::vector<std::uint32_t> announced;
  const auto announce = [&](std::uint32_t index) { announced.push_back(index); };
  walk.filter(
      pool, [of](entry e) { return e.index % of == of - 1; }, no_prefetch);
  CHECK(walk.left() == expected.size());
  if (!walk.done()) {
    for (std::uint32_t i = n; pool.entry_limit() > expected.size() && i != n + 40; ++i) {
      pool.append(walk.rest(), {i, 0}); // there is room for what was cleaned away
      expected.push_back(i);
    }
  }
  std::vector<std::uint32_t> rest;
  while (!walk.done())
    rest.push_back(walk.pop(pool, announce).index);
  CHECK(rest == expected);
  for (const std::uint32_t index : announced)
    CHECK(std::find(expected.begin(), expected.end(), index) != expected.end());

  append(pool, chain = {}, 0, n); // all chunks are back
  CHECK(chain.size == n);
  CHECK(book.allocations == allocations);
}

TEST_CASE("Releasing a chain gives back all its chunks", "[chain]") {
  kestrel_tests::ledger book;
  pool_type pool(3, allocator(book));
  pool.reserve_entries(200);
  const std::size_t allocations = book.allocations;
  for (std::uint32_t round = 0; round != 100; ++round) {
    entry_chain chain;
    append(pool, chain, 0, 200, round);
    pool.release(chain);
    CHECK(chain.size == 0);
    CHECK(chain.tail == nullptr);
    pool.release(chain); // an empty one is fine
  }
  CHECK(book.allocations == allocations);
}

TEST_CASE("A pool keeps its promise, however the entries are spread over the chains", "[chain]") {
  const std::size_t chains = GENERATE(as<std::size_t>{}, 1, 2, 5, 30, 576);
  const std::size_t promised = GENERATE(as<std::size_t>{}, 1, 2, 8, 50, 700, 3'000);
  const std::size_t favourites = GENERATE(as<std::size_t>{}, 1, 3, 1'000);
  kestrel_tests::ledger book;
  pool_type pool(chains, allocator(book));
  pool.reserve_entries(promised);
  const std::size_t allocations = book.allocations;
  book.until_failure = 0;

  // Entries move between chains as in a wheel: one chain is walked while others grow, and a second
  // one may be compacted in the middle of that.
  std::mt19937_64 random(chains * promised);
  std::vector<entry_chain> all(chains);
  std::vector<std::deque<std::uint32_t>> model(chains);
  std::size_t entries = 0;
  std::uint32_t next = 0;
  const auto pick = [&] {
    return random() % 3 == 0 ? random() % chains : random() % std::min(chains, favourites);
  };
  const auto append = [&](std::size_t c, std::uint32_t value) {
    pool.append(all[c], {value, 0});
    model[c].push_back(value);
    ++entries;
  };
  const auto fill = [&] {
    while (entries < promised)
      append(pick(), next++);
  };
  std::size_t wrong = 0;
  for (int round = 0; round != 60; ++round) {
    if (round % 2 == 0) { // each chain with one entry first: the most chunks for the fewest entries
      for (std::size_t c = 0; c != chains && entries < promised; ++c)
        append(c, next++);
    }
    fill();
    const std::size_t walked = pick();
    entry_walk walk(std::exchange(all[walked], {}));
    std::deque<std::uint32_t> expected = std::exchange(model[walked], {});
    while (!walk.done()) {
      const entry e = walk.pop(pool, no_prefetch);
      wrong += e.index == expected.front() ? 0u : 1u;
      expected.pop_front();
      --entries;
      fill();
      if (random() % 64 == 0) {
        const std::size_t compacted = pick();
        entry_walk inner(std::exchange(all[compacted], {}));
        model[compacted].clear();
        while (!inner.done()) {
          const entry kept = inner.pop(pool, no_prefetch);
          --entries;
          if (kept.index % 4 != 0)
            append(compacted, kept.index);
        }
        fill();
      }
      if (random() % 64 == 0) {
        const std::size_t dropped = pick();
        entries -= all[dropped].size;
        pool.release(all[dropped]);
        model[dropped].clear();
      }
      if (next > promised * 40 + 10'000)
        break;
    }
    while (!walk.done()) {
      walk.pop(pool, no_prefetch);
      --entries;
    }
    for (std::size_t c = 0; c != chains; ++c) {
      const std::vector<std::uint32_t> found = indices(all[c]);
      wrong += std::equal(found.begin(), found.end(), model[c].begin(), model[c].end()) ? 0u : 1u;
    }
    if (next > promised * 40 + 10'000)
      break;
  }
  CHECK(wrong == 0);
  CHECK(book.allocations == allocations);
}

TEST_CASE("The promise is not much larger than it has to be", "[chain]") {
  kestrel_tests::ledger book;
  pool_type pool(576, allocator(book));
  pool.reserve_entries(100'000);
  // Full chunks, and a partly filled one per chain.
  CHECK(pool.bytes() < (100'000 / entry_chunk::capacity + 576) * sizeof(entry_chunk) * 6 / 5);
}

TEST_CASE("A pool that cannot grow stays as it was", "[chain]") {
  kestrel_tests::ledger book;
  {
    pool_type pool(4, allocator(book));
    pool.reserve_entries(10);
    entry_chain chain;
    append(pool, chain, 0, 10);
    book.until_failure = 0;
    CHECK_THROWS_AS(pool.reserve_entries(1'000'000), std::bad_alloc);
    CHECK(indices(chain).size() == 10);
    book.until_failure = 1;
    CHECK_THROWS_AS(pool.reserve_entries(1'000'000), std::bad_alloc);
    CHECK(indices(chain).size() == 10);
    book.until_failure = kestrel_tests::ledger::no_failure;
    pool.reserve_entries(1'000);
    append(pool, chain, 10, 1'000);
    CHECK(indices(chain).back() == 999);
  }
  CHECK(book.live == 0);
}

TEST_CASE("A moved pool takes its chunks along", "[chain]") {
  kestrel_tests::ledger book;
  {
    pool_type from(4, allocator(book));
    from.reserve_entries(50);
    entry_chain chain;
    append(from, chain, 0, 50);
    pool_type to(std::move(from));
    CHECK(indices(chain).size() == 50);
    to.release(chain);
    to.reserve_entries(200);
    append(to, chain, 0, 200);
    CHECK(indices(chain).back() == 199);
  }
  CHECK(book.live == 0);
}
