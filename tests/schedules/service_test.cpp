// SPDX-License-Identifier: MIT
//
// One consumer and many timers: no firing is lost on the way, though the consumer is slow, the
// channel is full, and the service is shut down at the same time; and nobody waits for ever.

#include "explored_wheel.hpp"

#include <kestrel/timer_service.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <catch.hpp>

#include <array>
#include <map>
#include <memory>
#include <system_error>
#include <vector>

using namespace kestrel_tests;

namespace {

using explored_service = decltype(kestrel::basic_timer_service{std::declval<explored_wheel&>()});

/// What the consumer has received, by one thread at a time.
struct inbox {
  void add(const kestrel::timer_notification& n) { counts[n.id] += n.count; }

  /// All that waits to be received.
  void drain(explored_service& service) {
    while (const auto n = service.try_receive())
      add(*n);
  }

  [[nodiscard]] std::uint64_t of(kestrel::timer_id id) const {
    const auto found = counts.find(id);
    return found != counts.end() ? found->second : 0;
  }

  std::map<kestrel::timer_id, std::uint64_t> counts;
};

} // namespace

TEST_CASE("A full service is shut down while its timers fire, and loses nothing", "[schedules]") {
  explore("service full / shutdown / fire", [](exploration& e) {
    std::array<fate, 3> fates;
    std::array<kestrel::timer_id, 3> ids;
    inbox received;
    explored_world w;
    explored_service service{w.wheel, {.capacity = 1}};
    for (std::size_t i = 0; i != ids.size(); ++i)
      ids[i] = service.schedule_after(10ms, fates[i].note());
    const auto never = service.schedule_after(1h);
    w.pass(10ms);
    w.together(e, {w.run(), w.run(), w.beside([&] { service.shutdown(); })});
    received.drain(service);
    for (std::size_t i = 0; i != ids.size(); ++i) {
      e.expect(received.of(ids[i]) == static_cast<std::uint64_t>(fates[i].ran()),
               "not what has fired was told");
      e.expect(fates[i].ran() <= 1 && fates[i].is_destroyed() && fates[i].is_sound(),
               "the callable");
    }
    e.expect(received.of(never) == 0, "it was not due");
    e.expect(service.empty() && w.wheel.empty(), "a timer is left");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}

TEST_CASE("A slow consumer of a full service is told of each firing", "[schedules]") {
  explore("service full / receive / fire", [](exploration& e) {
    std::array<fate, 3> fates;
    std::array<kestrel::timer_id, 3> ids;
    inbox received;
    explored_world w;
    explored_service service{w.wheel, {.capacity = 1}};
    for (std::size_t i = 0; i != ids.size(); ++i)
      ids[i] = service.schedule_after(10ms, fates[i].note());
    w.pass(10ms);
    std::size_t left = ids.size();
    std::function<void()> receive = [&] {
      service.async_receive([&](asio::error_code ec, const kestrel::timer_notification& n) {
        received.add(n);
        if (!ec && --left != 0)
          receive();
      });
    };
    w.together(e, {w.run(), w.run(), w.beside([&] { receive(); })});
    for (std::size_t i = 0; i != ids.size(); ++i)
      e.expect(fates[i].ran() == 1 && received.of(ids[i]) == 1, "not each was told once");
    e.expect(left == 0 && service.empty(), "somebody waits");
  });
}

TEST_CASE("Who begins to receive when a timer fires is told of it", "[schedules]") {
  explore(
      "receive / fire",
      [](exploration& e) {
        fate f;
        inbox received;
        int ended = 0;
        explored_world w;
        explored_service service{w.wheel};
        const kestrel::timer_id id = service.schedule_after(10ms, f.note());
        w.pass(10ms);
        w.together(e, {w.run(), w.beside([&] {
                         service.async_receive(
                             [&](asio::error_code ec, const kestrel::timer_notification& n) {
                               ++ended;
                               if (!ec)
                                 received.add(n);
                             });
                       })});
        e.expect(ended == 1 && received.of(id) == 1, "it was not told once");
        e.expect(!service.try_receive() && service.empty(), "something is left");
      },
      more_preemptions);
}

TEST_CASE("Who gives up receiving when a timer fires is told of it, or the next one is",
          "[schedules]") {
  explore(
      "receive / cancel receiving / fire",
      [](exploration& e) {
        fate f;
        inbox received;
        std::vector<asio::error_code> ends;
        asio::cancellation_signal signal;
        explored_world w;
        explored_service service{w.wheel};
        const kestrel::timer_id id = service.schedule_after(10ms, f.note());
        w.pass(10ms);
        const auto note = [&](asio::error_code ec, const kestrel::timer_notification& n) {
          ends.push_back(ec);
          if (!ec)
            received.add(n);
        };
        w.together(e, {w.run(), w.beside([&] {
                         service.async_receive(asio::bind_cancellation_slot(signal.slot(), note));
                         signal.emit(asio::cancellation_type::terminal);
                       })});
        e.expect(ends.size() == 1, "it did not end once");
        for (const asio::error_code& ec : ends)
          e.expect(received.of(id) == (ec ? 0u : 1u), "it was told two things");
        received.drain(service);
        e.expect(received.of(id) == 1, "nobody is told");
      },
      more_preemptions);
}

TEST_CASE("Who receives while a service is shut down ends once", "[schedules]") {
  explore("receive / shutdown / fire", [](exploration& e) {
    fate f;
    inbox received;
    std::vector<asio::error_code> ends;
    explored_world w;
    explored_service service{w.wheel, {.capacity = 1}};
    const kestrel::timer_id id = service.schedule_after(10ms, f.note());
    w.pass(10ms);
    const auto receive = [&] {
      service.async_receive([&](asio::error_code ec, const kestrel::timer_notification& n) {
        ends.push_back(ec);
        if (!ec)
          received.add(n);
      });
    };
    w.together(e, {w.run(), w.beside([&] { service.shutdown(); }), w.beside([&] {
                     receive();
                     receive();
                   })});
    received.drain(service);
    e.expect(ends.size() == 2, "not each ended once");
    for (const asio::error_code& ec : ends)
      e.expect(!ec || ec == asio::error::operation_aborted || ec == kestrel::errc::shut_down,
               "it ended with another error");
    e.expect(received.of(id) == static_cast<std::uint64_t>(f.ran()), "not what has fired was told");
  });
}

TEST_CASE("A timer that its service cancels is told of, or not, as cancel says", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(
      "cancel by service / fire",
      [=](exploration& e) {
        fate f;
        inbox received;
        explored_world w;
        explored_service service{w.wheel, {.capacity = 1}};
        const kestrel::timer_id id =
            bound ? service.schedule_after(10ms,
                                           asio::bind_executor(w.context.get_executor(), f.note()))
                  : service.schedule_after(10ms, f.note());
        w.pass(10ms);
        bool cancelled = false;
        w.together(e, {w.run(), w.beside([&] { cancelled = service.cancel(id); })});
        received.drain(service);
        e.expect(f.ran() == (cancelled ? 0 : 1), "cancel lied");
        e.expect(received.of(id) == (cancelled ? 0u : 1u), "the consumer was told something else");
        e.expect(service.empty() && w.wheel.empty(), "a timer is left");
      },
      more_preemptions);
}

TEST_CASE("What is scheduled while a service is shut down is refused or cancelled", "[schedules]") {
  explore("schedule by service / shutdown", [](exploration& e) {
    fate f;
    fate g;
    inbox received;
    explored_world w;
    explored_service service{w.wheel, {.capacity = 1}};
    const kestrel::timer_id due = service.schedule_after(10ms, f.note());
    w.pass(10ms);
    bool refused = false;
    w.together(e, {w.run(), w.beside([&] { service.shutdown(); }), w.beside([&] {
                     try {
                       service.schedule_after(1h, g.note());
                     } catch (const std::system_error& error) {
                       refused = error.code() == kestrel::errc::shut_down;
                     }
                   })});
    received.drain(service);
    e.expect(g.ran() == 0 && g.is_destroyed(), "it is there still");
    e.expect(service.empty() && w.wheel.empty(), "a timer is left");
    e.expect(received.of(due) == static_cast<std::uint64_t>(f.ran()), "what has fired");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}

TEST_CASE("The firings of a periodic timer add up, though the channel is full", "[schedules]") {
  explore("service full / fire periodically / cancel", [](exploration& e) {
    fate f;
    fate g;
    inbox received;
    explored_world w;
    explored_service service{w.wheel, {.capacity = 1}};
    const kestrel::timer_id periodic = service.schedule_every(10ms, 10ms, f.note());
    const kestrel::timer_id once = service.schedule_after(20ms, g.note());
    w.pass(10ms);
    bool cancelled = false;
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     received.drain(service);
                     turns::wait([&] { return f.ran() >= 2; });
                     received.drain(service);
                     cancelled = service.cancel(periodic);
                   })});
    received.drain(service);
    e.expect(cancelled, "the timer was gone");
    e.expect(received.of(periodic) == static_cast<std::uint64_t>(f.ran()), "the periodic one");
    e.expect(g.ran() == 1 && received.of(once) == 1, "the other one");
    e.expect(service.empty() && w.wheel.empty(), "a timer is left");
  });
}

TEST_CASE("A service is destroyed while its wheel is, and its timers fire", "[schedules]") {
  explore("destroy a service / destroy the wheel / fire", [](exploration& e) {
    std::array<fate, 2> fates;
    int ended = 0;
    explored_world w;
    auto service = std::make_unique<explored_service>(w.wheel);
    explored_service other{w.wheel}; // is told of the end of the wheel
    for (fate& f : fates)
      service->schedule_after(10ms, f.note());
    const auto note = [&](asio::error_code, const kestrel::timer_notification&) { ++ended; };
    service->async_receive(note);
    other.async_receive(note);
    w.pass(10ms);
    w.together(e, {w.run(), w.beside([&] { service.reset(); }), w.beside([&] { w.made.reset(); })});
    e.expect(ended == 2, "not each who received ended once");
    for (const fate& f : fates)
      e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}
