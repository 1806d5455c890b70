// SPDX-License-Identifier: MIT
//
// What the waits of a steady_timer are kept in: rooms beside the timer's other things, and places
// for timers that nobody waits for.

#include <kestrel/detail/wait_queue.hpp>

#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>

#include <catch.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

using kestrel::detail::handler_memory;
using kestrel::detail::idle_queues;
using kestrel::detail::timer_wait_ptr;
using kestrel::detail::wait_queue;
using kestrel::detail::wait_rooms;

namespace {

template <std::size_t Words>
struct handler {
  void operator()(asio::error_code) const {}
  std::array<void*, Words> state{};
};

// Error codes of Boost leave less room.
constexpr std::size_t usual_words = sizeof(asio::error_code) <= 16 ? 3 : 2;

template <std::size_t Words>
timer_wait_ptr make_wait(asio::io_context& context, wait_rooms& rooms) {
  return kestrel::detail::make_timer_wait(handler<Words>(), context.get_executor(), rooms);
}

int free_rooms(wait_rooms& rooms) {
  void* const first = rooms.take<std::byte>();
  void* const second = rooms.take<std::byte>();
  for (void* const taken : {first, second}) {
    if (taken != nullptr)
      rooms.give_back(taken);
  }
  return (first != nullptr ? 1 : 0) + (second != nullptr ? 1 : 0);
}

} // namespace

TEST_CASE("A timer has rooms for two waits, in any order", "[waits]") {
  handler_memory elsewhere;
  wait_rooms rooms(elsewhere);
  CHECK(free_rooms(rooms) == 2);
  void* const first = rooms.take<std::uint64_t>();
  void* const second = rooms.take<std::uint64_t>();
  REQUIRE(first != nullptr);
  REQUIRE(second != nullptr);
  CHECK(first != second);
  CHECK(rooms.take<std::byte>() == nullptr);

  CHECK(rooms.give_back(first));
  CHECK(rooms.take<std::byte>() == first);
  CHECK(rooms.give_back(second));
  CHECK(rooms.take<std::byte>() == second);
  CHECK(rooms.give_back(first));
  CHECK(rooms.give_back(second));
  CHECK(free_rooms(rooms) == 2);
}

TEST_CASE("What has no place in a room is not given one, nor taken for one", "[waits]") {
  struct large {
    std::byte bytes[97];
  };
  struct alignas(64) aligned {
    std::byte byte;
  };
  handler_memory elsewhere;
  std::array<wait_rooms, 3> neighbours{wait_rooms(elsewhere), wait_rooms(elsewhere),
                                       wait_rooms(elsewhere)};
  wait_rooms& rooms = neighbours[1];
  CHECK(rooms.take<large>() == nullptr);
  CHECK(rooms.take<aligned>() == nullptr);
  for (wait_rooms* const other : {&neighbours[0], &neighbours[2]}) {
    CHECK_FALSE(rooms.give_back(other->take<std::byte>()));
    CHECK_FALSE(rooms.give_back(other->take<std::byte>()));
  }
  CHECK(free_rooms(rooms) == 2);
}

TEST_CASE("A wait whose handler has a few words is in a room, a larger one is not", "[waits]") {
  asio::io_context context;
  handler_memory elsewhere;
  wait_rooms rooms(elsewhere);
  {
    const timer_wait_ptr small = make_wait<1>(context, rooms);
    CHECK(free_rooms(rooms) == 1);
    const timer_wait_ptr usual = make_wait<usual_words>(context, rooms);
    CHECK(free_rooms(rooms) == 0);
    const timer_wait_ptr another = make_wait<1>(context, rooms);
  }
  CHECK(free_rooms(rooms) == 2);
  const timer_wait_ptr large = make_wait<8>(context, rooms);
  CHECK(free_rooms(rooms) == 2);
}

TEST_CASE("The handler of a cancelled wait stays in the room until it is called", "[waits]") {
  asio::io_context context;
  handler_memory elsewhere;
  wait_rooms rooms(elsewhere);
  make_wait<usual_words>(context, rooms).release()->complete(asio::error::operation_aborted);
  CHECK(free_rooms(rooms) == 1);
  context.run();
  CHECK(free_rooms(rooms) == 2);
}

TEST_CASE("Of idle timers sixteen have a place, and the others take turns to leave", "[waits]") {
  handler_memory elsewhere;
  std::vector<std::unique_ptr<wait_queue>> queues;
  for (int i = 0; i != 40; ++i)
    queues.push_back(std::make_unique<wait_queue>(elsewhere));
  idle_queues idle;
  CHECK(idle.any() == nullptr);
  for (std::size_t i = 0; i != 16; ++i)
    CHECK(idle.add(*queues[i]) == nullptr);

  idle.remove(*queues[5]);
  idle.remove(*queues[9]);
  CHECK(idle.add(*queues[16]) == nullptr);
  CHECK(idle.add(*queues[17]) == nullptr);

  std::set<wait_queue*> left;
  for (std::size_t i = 18; i != 34; ++i)
    left.insert(idle.add(*queues[i]));
  CHECK(left.size() == 16);
  CHECK(left.count(nullptr) == 0);
  CHECK(left.count(queues[5].get()) + left.count(queues[9].get()) == 0);

  std::size_t n = 0;
  for (; wait_queue* const one = idle.any(); ++n) {
    CHECK(left.count(one) == 0);
    idle.remove(*one);
  }
  CHECK(n == 16);
}
