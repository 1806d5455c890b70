// SPDX-License-Identifier: MIT
//
// What the waits of a steady_timer allocate: nothing of their own. What a handler's associated
// allocator gives is all there is; and of handlers without one, Asio keeps the blocks.

#include "counted_new.hpp"

#include <kestrel/steady_timer.hpp>

#include <asio/bind_allocator.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <catch.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <new>
#include <vector>

using namespace kestrel_tests;
using namespace std::chrono_literals;
using kestrel::steady_timer;

namespace {

constexpr int warm = 100;    // rounds until everything has grown
constexpr int watched = 100; // and those that count

/// Blocks of one size, which are given out again.
class blocks {
public:
  static constexpr std::size_t size = 256;

  ~blocks() {
    for (void* p : all_)
      ::operator delete(p);
  }

  void* take() {
    if (free_.empty()) {
      all_.push_back(::operator new(size));
      free_.reserve(all_.size());
      free_.push_back(all_.back());
    }
    void* const p = free_.back();
    free_.pop_back();
    ++taken;
    return p;
  }

  void give_back(void* p) { free_.push_back(p); }

  long taken = 0;

private:
  std::vector<void*> all_;
  std::vector<void*> free_;
};

template <class T>
struct block_allocator {
  using value_type = T;

  explicit block_allocator(blocks& b) noexcept : from{&b} {}
  template <class U>
  block_allocator(const block_allocator<U>& other) noexcept : from{other.from} {}

  T* allocate(std::size_t n) {
    if (n * sizeof(T) > blocks::size)
      throw std::bad_alloc();
    return static_cast<T*>(from->take());
  }
  void deallocate(T* p, std::size_t) noexcept { from->give_back(p); }

  friend bool operator==(const block_allocator& a, const block_allocator& b) noexcept {
    return a.from == b.from;
  }

  blocks* from;
};

} // namespace

TEST_CASE("A steady_timer that fires and is armed again allocates nothing once warm",
          "[steady_timer][memory]") {
  asio::io_context io;
  steady_timer timer(io);
  int fired = 0;
  long before = 0;
  long used = -1;
  std::function<void(asio::error_code)> again = [&](asio::error_code) {
    if (++fired == warm)
      before = allocations;
    if (fired == warm + watched) {
      used = allocations - before;
      return;
    }
    timer.expires_at(steady_timer::clock_type::now());
    timer.async_wait([&](asio::error_code ec) { again(ec); });
  };
  timer.async_wait([&](asio::error_code ec) { again(ec); });
  io.run();
  CHECK(used == 0);
}

TEST_CASE("An idle timeout that is reset allocates nothing once warm", "[steady_timer][memory]") {
  asio::io_context io;
  steady_timer timer(io);
  int aborted = 0;
  std::function<void()> reset;
  const auto on_end = [&](asio::error_code ec) {
    if (ec == asio::error::operation_aborted)
      ++aborted;
  };
  int round = 0;
  long before = 0;
  long used = -1;
  reset = [&] {
    if (++round == warm)
      before = allocations;
    if (round == warm + watched) {
      used = allocations - before;
      timer.cancel();
      return;
    }
    timer.expires_after(30s);
    timer.async_wait([&](asio::error_code ec) { on_end(ec); });
    asio::post(io, [&] { reset(); });
  };
  asio::post(io, [&] { reset(); });
  io.run();
  CHECK(used == 0);
  CHECK(aborted == warm + watched - 1);
}

TEST_CASE("Waits of large handlers allocate nothing once warm, several at once neither",
          "[steady_timer][memory]") {
  struct large {
    void operator()(asio::error_code) const { ++*called; }
    int* called;
    std::array<std::byte, 160 - sizeof(int*)> rest{};
  };
  static_assert(sizeof(large) == 160);
  asio::io_context io;
  steady_timer timer(io);
  int called = 0;
  long before = 0;
  for (int round = 0; round != warm + watched; ++round) {
    if (round == warm)
      before = allocations;
    timer.expires_after(30s);
    for (int i = 0; i != 3; ++i)
      timer.async_wait(large{&called});
    io.restart();
    io.poll();
  }
  CHECK(allocations == before);
  CHECK(called == 3 * (warm + watched - 1));
}

TEST_CASE("Waits take all their memory from the allocator of their handlers",
          "[steady_timer][memory]") {
  blocks memory; // outlives the handlers
  asio::io_context io;
  std::vector<steady_timer> timers;
  timers.reserve(100);
  for (int i = 0; i != 100; ++i)
    timers.emplace_back(io);
  int told = 0;
  const auto on_end = [&](asio::error_code) { ++told; };
  long before = 0;
  for (int round = 0; round != warm + watched; ++round) {
    if (round == warm) {
      before = allocations;
      memory.taken = 0;
    }
    for (steady_timer& t : timers) {
      t.expires_after(round % 2 ? 30s : steady_timer::duration(0));
      t.async_wait(asio::bind_allocator(block_allocator<int>(memory),
                                        [&](asio::error_code ec) { on_end(ec); }));
    }
    io.restart();
    if (round % 2)
      io.poll();
    else
      io.run();
  }
  CHECK(allocations - before == 0);
  CHECK(memory.taken >= 100 * watched);
  CHECK(told == 100 * (warm + watched) - (watched % 2 ? 0 : 100));
}
