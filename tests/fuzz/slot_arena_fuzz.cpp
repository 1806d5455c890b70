// SPDX-License-Identifier: MIT
//
// slot_arena against a map from ids to payloads, on operations that a fuzzer makes up: slots in one
// step and in two, generations near their ends, payloads that throw, memory that runs out.

#include "byte_reader.hpp"
#include "core/wheel_support.hpp"
#include "fuzz_target.hpp"

#include <kestrel/slot_arena.hpp>

#include <cstdint>
#include <map>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using kestrel::timer_id;

struct record {
  std::uint32_t generation;
  std::uint32_t link;
  std::uint64_t key;
};

struct refusal {};

class payload {
public:
  payload(std::uint64_t key, bool refuses, std::size_t& alive)
      : text_(std::to_string(key) + ", long enough for memory of its own"), alive_{alive} {
    if (refuses)
      throw refusal{};
    ++alive_;
  }
  payload(const payload&) = delete;
  payload& operator=(const payload&) = delete;
  ~payload() { --alive_; }

  [[nodiscard]] bool is(std::uint64_t key) const {
    return text_ == std::to_string(key) + ", long enough for memory of its own";
  }

private:
  std::string text_;
  std::size_t& alive_;
};

class arena_model {
  using arena = kestrel::slot_arena<record, payload, kestrel_tests::ledger_allocator<payload>>;

public:
  explicit arena_model(std::span<const std::byte> bytes)
      : in_(bytes),
        first_{first_generation(in_)},
        arena_(first_, kestrel_tests::ledger_allocator<payload>(book_)) {}

  arena_model(const arena_model&) = delete;
  arena_model& operator=(const arena_model&) = delete;

  ~arena_model() {
    for (const auto& [id, key] : live_)
      end(id);
  }

  void run() {
    for (; !in_.done(); ++step_) {
      operation();
      compare();
    }
  }

private:
  void check(bool condition, const char* what) const {
    if (!condition)
      throw std::logic_error(std::string(what) + ", step " + std::to_string(step_));
  }

  static std::uint32_t first_generation(kestrel_tests::byte_reader& in) {
    const std::uint64_t where = in.number(1);
    const auto any = static_cast<std::uint32_t>(in.number(4));
    switch (where % 4) {
    case 0:
      return 0;
    case 1:
      return static_cast<std::uint32_t>(0u - (any & 0x1e)); // the counter wraps soon
    default:
      return any & ~1u;
    }
  }

  void operation() {
    switch (in_.number(1) % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
      return allocate();
    case 4:
      return take();
    case 5:
      return occupy();
    case 6:
      return untake();
    case 7:
    case 8:
    case 9:
      if (!live_.empty())
        release();
      return;
    case 10:
      return invalidate_and_reclaim_later();
    case 11:
      return age();
    case 12:
      return reserve();
    case 13:
      book_.until_failure =
          in_.number(1) % 2 == 0 ? kestrel_tests::ledger::no_failure : in_.number(1) % 3;
      return;
    case 14:
      return look_up_any();
    default:
      for (std::uint64_t n = in_.number(1); n != 0; --n)
        allocate();
    }
  }

  /// Without memory nothing changes.
  template <class Operation>
  void attempt(Operation&& operation) {
    const std::size_t size = arena_.size();
    const std::size_t payloads = alive_;
    try {
      operation();
    } catch (const std::bad_alloc&) {
      check(arena_.size() == size && alive_ == payloads, "a failure changes nothing");
      book_.until_failure = kestrel_tests::ledger::no_failure;
    } catch (const refusal&) {
      check(arena_.size() == size && alive_ == payloads, "a refusal changes nothing");
    }
  }

  void allocate() {
    attempt([&] {
      const std::uint64_t key = ++last_key_;
      const std::uint32_t index = arena_.allocate(key, in_.number(1) % 16 == 1, alive_).index;
      const timer_id id = arena_.id_of(index);
      issued(id);
      begin(id, key);
    });
  }

  void take() {
    attempt([&] {
      const timer_id id = arena_.take();
      issued(id);
      taken_.push_back(id);
    });
  }

  void occupy() {
    if (taken_.empty())
      return;
    attempt([&] {
      const timer_id id = taken_.back();
      const std::uint64_t key = ++last_key_;
      arena_.occupy(id.index(), key, in_.number(1) % 8 == 1, alive_);
      taken_.pop_back();
      begin(id, key);
    });
  }

  void untake() {
    if (taken_.empty())
      return;
    arena_.untake(taken_.back().index());
    taken_.pop_back();
  }

  void begin(timer_id id, std::uint64_t key) {
    check(arena_.find(id) != nullptr, "what was allocated is found");
    arena_.find(id)->key = key;
    live_.emplace(id, key);
  }

  timer_id any_live() {
    auto i = live_.lower_bound(timer_id::from_value(in_.number(2)));
    return i != live_.end() ? i->first : live_.begin()->first;
  }

  void end(timer_id id) {
    arena_.invalidate(arena_.record(id.index()));
    arena_.destroy_payload(id.index());
    arena_.reclaim(id.index());
  }

  void release() {
    const timer_id id = any_live();
    live_.erase(id);
    end(id);
    check(arena_.find(id) == nullptr, "what was released is not found");
  }

  /// As during a callback: the id is stale, the slot is not free yet.
  void invalidate_and_reclaim_later() {
    if (live_.empty())
      return;
    const timer_id id = any_live();
    const std::uint64_t key = live_[id];
    live_.erase(id);
    arena_.invalidate(arena_.record(id.index()));
    check(arena_.find(id) == nullptr, "what was invalidated is not found");
    allocate();
    check(arena_.payload(id.index()).is(key), "an invalid slot keeps its payload");
    arena_.destroy_payload(id.index());
    arena_.reclaim(id.index());
  }

  /// As if a live slot had been used billions of times: few generations are left.
  void age() {
    if (live_.empty())
      return;
    const timer_id id = any_live();
    const std::uint32_t last = first_ - 1;
    const std::uint32_t generation = last - 2 * static_cast<std::uint32_t>(in_.number(1) % 4);
    if (last - generation >= last - id.generation())
      return; // it is as old as that
    const std::uint64_t key = live_[id];
    const timer_id older(id.index(), generation);
    if (ids_.contains(older.value()))
      return;
    live_.erase(id);
    arena_.record(id.index()).generation = generation;
    issued(older);
    live_.emplace(older, key);
  }

  void reserve() {
    const std::size_t n = in_.number(2) % 4'000;
    attempt([&] {
      arena_.reserve(n);
      check(arena_.capacity() >= n, "reserve makes room");
    });
  }

  void look_up_any() {
    const timer_id id = in_.number(1) % 2 == 0
                            ? timer_id::from_value(in_.number(8))
                            : timer_id(static_cast<std::uint32_t>(in_.number(1)),
                                       first_ + static_cast<std::uint32_t>(in_.number(1)));
    check((arena_.find(id) != nullptr) == live_.contains(id), "an id names a live slot or nothing");
    arena_.prefetch_record(id.index());
    arena_.prefetch_payload(id.index());
  }

  void issued(timer_id id) {
    check(static_cast<bool>(id), "an id is never a default-made one");
    check(ids_.insert(id.value()).second, "an id is never issued twice");
  }

  void compare() {
    check(arena_.check_invariants(), "invariants");
    check(arena_.size() == live_.size() && alive_ == live_.size(), "size");
    for (const auto& [id, key] : live_) {
      const record* r = arena_.find(id);
      check(r != nullptr && r->key == key && arena_.payload(id.index()).is(key),
            "a live slot keeps what is in it");
    }
    for (const timer_id id : taken_)
      check(arena_.find(id) == nullptr, "what is set aside is not found");
  }

  kestrel_tests::byte_reader in_;
  std::uint32_t first_;
  kestrel_tests::ledger book_;
  arena arena_;
  std::map<timer_id, std::uint64_t> live_;
  std::vector<timer_id> taken_;
  std::set<std::uint64_t> ids_; // all that were ever issued
  std::size_t alive_ = 0;
  std::uint64_t last_key_ = 0;
  std::size_t step_ = 0;
};

} // namespace

void kestrel_tests::fuzz(std::span<const std::byte> bytes) { arena_model(bytes).run(); }
