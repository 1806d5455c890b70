// SPDX-License-Identifier: MIT
//
// announcement: what a wheel tells those who wait for its timers. It finds out under its lock, and
// tells after that; a context that ends meanwhile waits until all are told.

#ifndef KESTREL_DETAIL_ANNOUNCEMENT_HPP
#define KESTREL_DETAIL_ANNOUNCEMENT_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/watch.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// How many are under way.
class announcements {
public:
  /// While there is one, somebody is being told something. Made under the lock.
  class telling {
  public:
    explicit telling(announcements& all) noexcept : all_{all} { ++all_.under_way_; }
    telling(const telling&) = delete;
    telling& operator=(const telling&) = delete;

    ~telling() {
      if (all_.under_way_.fetch_sub(1) == 1)
        all_.under_way_.notify_all();
    }

  private:
    announcements& all_;
  };

  /// Waits for the end of all. Not under the lock, and when no new ones come.
  void await() const noexcept {
    for (std::size_t n = under_way_; n != 0; n = under_way_)
      under_way_.wait(n);
  }

private:
  std::atomic<std::size_t> under_way_ = 0;
};

/// What is told after the lock is released.
class announcement {
public:
  announcement() = default;
  announcement(const announcement&) = delete;
  announcement& operator=(const announcement&) = delete;

  /// Under the lock, and once.
  void add(announcements& all, news&& n) noexcept {
    KESTREL_ASSERT(!news_);
    if (n.empty())
      return;
    begin(all);
    news_.emplace(std::move(n));
  }

  /// The same for a callback that ends a wait when it is destroyed.
  void add(announcements& all, callback&& wait) noexcept {
    begin(all);
    wait_ = std::move(wait);
  }

private:
  void begin(announcements& all) noexcept {
    if (!telling_)
      telling_.emplace(all);
  }

  std::optional<announcements::telling> telling_;
  callback wait_;
  std::optional<news> news_; // telling is their destruction
};

/// What is destroyed, or told, after the lock is released.
struct leftovers {
  callback action;
  announcement told;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ANNOUNCEMENT_HPP
