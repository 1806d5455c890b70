// SPDX-License-Identifier: MIT
//
// turns: real threads of which one runs at a time. At each point where it matters who goes on, the
// one that runs asks `choices`, and hands over. Knows when nobody can go on.

#ifndef KESTREL_TESTS_SCHEDULES_TURNS_HPP
#define KESTREL_TESTS_SCHEDULES_TURNS_HPP

#include "blind.hpp"
#include "choices.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kestrel_tests {

/// The threads are kept from one schedule to the next.
class turns {
public:
  using function = std::function<void()>;
  using condition = std::function<bool()>;

  turns() = default;
  turns(const turns&) = delete;
  turns& operator=(const turns&) = delete;

  ~turns() {
    for (const auto& m : members_) {
      m->go.open();
      m->thread.join();
    }
  }

  /// Has each of `programs` run by a thread of its own, until all have ended. When none can go on,
  /// `idle` may change that and return true. Returns what went wrong, or nothing.
  std::string run(choices& who, const std::vector<function>& programs, const condition& idle) {
    choices_ = &who;
    idle_ = &idle;
    current_ = choices::nobody;
    steps_ = 0;
    abandoned_ = false;
    failure_.clear();
    while (members_.size() < programs.size())
      members_.push_back(std::make_unique<member>(*this));
    for (std::size_t i = 0; i != programs.size(); ++i)
      members_[i]->begin(programs[i]);
    hand_over(nullptr);
    if (!done_.pass(std::chrono::minutes(2))) {
      std::fprintf(stderr, "A thread waits for something that nobody explores: schedule %s\n",
                   who.written().c_str());
      std::abort();
    }
    for (std::size_t i = 0; i != programs.size(); ++i)
      members_[i]->await_end();
    return failure_;
  }

  /// Another one may go on here. Does nothing in threads that take no turns.
  static void point() {
    wait([] { return true; });
  }

  /// The same, and this thread does not before `ready()`. That must depend on nothing but what the
  /// threads do. Throws to unwind a thread that will wait for ever, and lets it pass when it does.
  static void wait(const condition& ready) {
    if (self_ != nullptr)
      self_->owner.wait(*self_, ready);
  }

private:
  struct abandoned {};

  static constexpr std::size_t max_steps = 100'000;

  class gate {
  public:
    void open() {
      {
        const std::lock_guard lock(mutex_);
        open_ = true;
      }
      opened_.notify_one(); // the gate is there still, since this thread will be joined before
    }

    void pass() {
      std::unique_lock lock(mutex_);
      opened_.wait(lock, [this] { return open_; });
      open_ = false;
    }

    bool pass(std::chrono::minutes limit) {
      std::unique_lock lock(mutex_);
      return opened_.wait_for(lock, limit, [this] { return std::exchange(open_, false); });
    }

  private:
    std::mutex mutex_;
    std::condition_variable opened_;
    bool open_ = false;
  };

  struct member {
    explicit member(turns& t) : owner{t}, thread([this] { live(); }) {}

    // What the thread sanitizer sees of the turns: a program comes after what was before it, and
    // before what is after it.

    void begin(const function& f) {
      ready = nullptr;
      finished = false;
      program.store(&f, std::memory_order_release);
    }

    void await_end() const { static_cast<void>(ended.load(std::memory_order_acquire)); }

    void live() {
      for (;;) {
        {
          const blind unseen;
          go.pass();
        }
        const function* const f = program.exchange(nullptr, std::memory_order_acquire);
        if (f == nullptr)
          return; // the end
        self_ = this;
        owner.call(*f);
        self_ = nullptr;
        ended.store(true, std::memory_order_release);
        const blind unseen;
        finished = true;
        owner.hand_over(this);
      }
    }

    turns& owner;
    gate go;
    std::atomic<const function*> program = nullptr;
    std::atomic<bool> ended = false;
    const condition* ready = nullptr; // to go on; null if always
    bool finished = true;
    std::thread thread;
  };

  void call(const function& f) {
    try {
      f();
    } catch (const abandoned&) {
    } catch (const std::exception& e) {
      fail(std::string("a thread threw: ") + e.what());
    }
  }

  void fail(std::string what) {
    const blind unseen;
    if (failure_.empty())
      failure_ = std::move(what);
  }

  void wait(member& m, const condition& ready) {
    const blind unseen;
    if (!abandoned_) {
      m.ready = &ready;
      if (++steps_ == max_steps)
        abandon("endless");
      else
        hand_over(&m);
      m.ready = nullptr;
    }
    if (abandoned_ && std::uncaught_exceptions() == 0)
      throw abandoned();
  }

  /// From `from` to whoever is next. Returns when it is the turn of `from` again, or never will be.
  void hand_over(member* from) {
    member* const next = pick();
    if (next == nullptr) {
      done_.open();
      return;
    }
    if (next == from)
      return;
    const bool comes_back = from != nullptr && !from->finished;
    next->go.open();
    if (comes_back)
      from->go.pass();
  }

  /// Null if all have ended.
  member* pick() {
    do {
      std::vector<int> ready;
      bool finished = true;
      for (std::size_t i = 0; i != members_.size(); ++i) {
        const member& m = *members_[i];
        finished = finished && m.finished;
        if (!m.finished && (abandoned_ || m.ready == nullptr || (*m.ready)()))
          ready.push_back(static_cast<int>(i));
      }
      if (finished)
        return nullptr;
      if (!ready.empty())
        return members_[static_cast<std::size_t>(choose(ready))].get();
    } while ((*idle_)());
    abandon("deadlock");
    return pick();
  }

  int choose(const std::vector<int>& ready) {
    if (abandoned_)
      return ready.front();
    try {
      current_ = choices_->choose(ready, current_);
    } catch (const std::exception& e) {
      abandon(e.what());
      return ready.front();
    }
    return current_;
  }

  /// The threads are unwound, one after the other. Told at once, since that may end the program.
  void abandon(const std::string& why) {
    fail(why);
    abandoned_ = true;
  }

  inline static thread_local member* self_ = nullptr;

  std::vector<std::unique_ptr<member>> members_;
  gate done_;
  choices* choices_ = nullptr;
  const condition* idle_ = nullptr;
  int current_ = choices::nobody;
  std::size_t steps_ = 0;
  bool abandoned_ = false;
  std::string failure_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_TURNS_HPP
