// SPDX-License-Identifier: MIT
//
// choices: goes through all ways in which threads may take turns, one after the other, depth first.
// A thread that could have gone on and does not is preempted; how often that may happen in one way
// is bounded. Knows nothing of threads but their numbers.

#ifndef KESTREL_TESTS_SCHEDULES_CHOICES_HPP
#define KESTREL_TESTS_SCHEDULES_CHOICES_HPP

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kestrel_tests {

/// For each schedule, `choose` is called whenever someone has to go on, and `next` at its end. What
/// chooses must do the same whenever it is given the same answers.
class choices {
public:
  static constexpr int nobody = -1;

  explicit choices(int preemptions) noexcept : bound_{preemptions} {}

  /// The one schedule that `written` describes, which is what `written` returned.
  explicit choices(const std::string& written) : bound_{0} {
    for (const char c : written)
      decisions_.push_back({{c - '0'}, 0});
    replays_ = true;
  }

  /// Who goes on, of those who can, in ascending order: at first `current`, who did so far, then
  /// the others.
  int choose(const std::vector<int>& ready, int current) {
    if (ready.size() == 1)
      return ready.front();
    const bool goes_on = std::ranges::find(ready, current) != ready.end();
    if (replays_) {
      if (at_ == decisions_.size())
        return goes_on ? current : ready.front();
    } else {
      std::vector<int> options = options_of(ready, current, goes_on);
      if (at_ == decisions_.size())
        decisions_.push_back({std::move(options), 0});
      else if (decisions_[at_].options != options)
        throw std::logic_error("the same choices led elsewhere");
    }
    const int chosen = decisions_[at_++].chosen();
    if (std::ranges::find(ready, chosen) == ready.end())
      throw std::logic_error("not a schedule of this program");
    if (goes_on && chosen != current)
      ++preemptions_;
    return chosen;
  }

  /// Whether all was asked again that had been asked before.
  [[nodiscard]] bool is_complete() const noexcept { return at_ == decisions_.size(); }

  /// Goes back to the start, to choose otherwise. False if every way has been taken.
  bool next() {
    at_ = 0;
    preemptions_ = 0;
    while (!replays_ && !decisions_.empty()) {
      if (++decisions_.back().taken != decisions_.back().options.size())
        return true;
      decisions_.pop_back();
    }
    return false;
  }

  /// The schedule: who goes on, a digit each, whenever there is a choice. Before it is run, as much
  /// as is not up to whoever can go on.
  [[nodiscard]] std::string written() const {
    std::string result;
    for (const decision& d : decisions_)
      result += static_cast<char>('0' + d.chosen());
    return result;
  }

private:
  struct decision {
    [[nodiscard]] int chosen() const { return options[taken]; }

    std::vector<int> options;
    std::size_t taken;
  };

  [[nodiscard]] std::vector<int> options_of(const std::vector<int>& ready, int current,
                                            bool goes_on) const {
    if (!goes_on)
      return ready;
    std::vector<int> options{current};
    if (preemptions_ != bound_)
      std::ranges::copy_if(ready, std::back_inserter(options), [=](int i) { return i != current; });
    return options;
  }

  int bound_;
  bool replays_ = false;
  std::vector<decision> decisions_;
  std::size_t at_ = 0; // how many were made
  int preemptions_ = 0;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_CHOICES_HPP
