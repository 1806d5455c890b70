// SPDX-License-Identifier: MIT
//
// moved_time: the time_source that there is. It stands still unless it is moved. Only
// kestrel/testing.hpp makes one.

#ifndef KESTREL_DETAIL_MOVED_TIME_HPP
#define KESTREL_DETAIL_MOVED_TIME_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/time_source.hpp>
#include <kestrel/detail/wait_op.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class moved_time final : public time_source {
public:
  [[nodiscard]] std::int64_t elapsed() const override {
    const mutex_guard lock(mutex_);
    return elapsed_;
  }

  void add(std::int64_t time, wait_op_ptr<alarm> a) override {
    const mutex_guard lock(mutex_);
    alarms_.emplace(time, std::move(a));
  }

  void cancel(std::uint64_t ticket) override {
    const mutex_guard lock(mutex_);
    const auto found = std::ranges::find(alarms_, ticket,
                                         [](const auto& entry) { return entry.second->ticket(); });
    if (found != alarms_.end())
      take(found).release()->complete(net::error::operation_aborted);
  }

  void note_firing() override {
    const mutex_guard lock(mutex_);
    ++firings_;
  }

  [[nodiscard]] std::uint64_t firings() const override {
    const mutex_guard lock(mutex_);
    return firings_;
  }

  [[nodiscard]] bool has_alarms() const override {
    const mutex_guard lock(mutex_);
    return !alarms_.empty();
  }

  void move_to(std::int64_t time) override {
    const mutex_guard lock(mutex_);
    elapsed_ = (std::max)(elapsed_, time);
  }

  bool move_to_alarm(std::int64_t limit) override {
    const mutex_guard lock(mutex_);
    if (!rings_by(limit))
      return false;
    elapsed_ = (std::max)(elapsed_, alarms_.begin()->first);
    return true;
  }

  void ring() override {
    const mutex_guard lock(mutex_);
    while (rings_by(elapsed_))
      take(alarms_.begin()).release()->complete({});
  }

private:
  using alarm_map = std::multimap<std::int64_t, wait_op_ptr<alarm>>;

  std::int64_t start_of(const void* clock, std::int64_t now) override {
    const mutex_guard lock(mutex_);
    return starts_.try_emplace(clock, now).first->second;
  }

  /// Does the first alarm? One for the end of time is that of a wheel on whose clock there is no
  /// later time, so that it would be set again for ever.
  [[nodiscard]] bool rings_by(std::int64_t time) const KESTREL_REQUIRES(mutex_) {
    return !alarms_.empty() && alarms_.begin()->first <= (std::min)(time, max_ns - 1);
  }

  wait_op_ptr<alarm> take(alarm_map::iterator entry) KESTREL_REQUIRES(mutex_) {
    wait_op_ptr<alarm> taken(std::move(entry->second));
    alarms_.erase(entry);
    return taken;
  }

  mutable guarded_mutex<std::mutex> mutex_;
  std::int64_t elapsed_ KESTREL_GUARDED_BY(mutex_) = 0;
  std::uint64_t firings_ KESTREL_GUARDED_BY(mutex_) = 0;
  std::map<const void*, std::int64_t> starts_ KESTREL_GUARDED_BY(mutex_); // by clock
  alarm_map alarms_ KESTREL_GUARDED_BY(mutex_);                           // by time
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_MOVED_TIME_HPP
