// SPDX-License-Identifier: MIT
//
// Lays out the picture. All places on it are here.

#include "picture.hpp"

#include "../figures.hpp"
#include "colour.hpp"

#include <kestrel/lateness_histogram.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

namespace turn {

namespace {

using figures::fixed;
using figures::grouped;

constexpr std::size_t width = 100;
constexpr std::size_t height = 29;

constexpr std::size_t left = 3; // edge of the two levels
constexpr std::size_t columns = 64;
constexpr std::size_t l1_top = 4;
constexpr std::size_t l1_rows = 5;
constexpr std::size_t hand_row = l1_top + l1_rows;
constexpr std::size_t falls_top = hand_row + 1;
constexpr std::size_t falls_rows = 4;
constexpr std::size_t l0_top = falls_top + falls_rows + 1;
constexpr std::size_t l0_rows = 8;
constexpr std::size_t legend_row = l0_top + l0_rows + 1;

constexpr std::size_t panel = 71; // left edge of the figures
constexpr std::size_t panel_end = 97;
constexpr std::size_t rates_row = 3;
constexpr std::size_t timers_row = 13;
constexpr std::size_t lateness_row = 18;

void heading(canvas& c, std::size_t x, std::size_t y, std::string_view title,
             std::string_view note = {}) {
  const std::size_t end = c.write(x, y, title, palette::bright);
  c.write(end + 2, y, note, palette::dim);
}

void figure(canvas& c, std::size_t y, std::string_view name, const std::string& value) {
  c.write(panel, y, name, palette::dim);
  c.write_before(panel_end, y, value, palette::plain);
}

// Few are to be told from none, and many from most.
double heat_of(double part) { return std::pow(part, 0.7); }

} // namespace

void picture::fullness::look(std::vector<std::uint32_t> timers) {
  const auto full = timers.end() - 1 - static_cast<std::ptrdiff_t>(timers.size() / 50);
  std::nth_element(timers.begin(), full, timers.end());
  full_ = std::max({1.0, static_cast<double>(*full), full_ * 0.99});
}

void picture::look(const view& v) {
  falls_.look(v.slots, v.time);
  meter_.note(v.time, v.stats);
  l0_.look(v.slots.l0.timers);
  l1_.look(v.slots.l1.timers);
}

canvas picture::draw(const view& v) const {
  canvas c(width, height);
  const std::size_t end = c.write(left, 1, "kestrel", palette::bright);
  c.write(end + 2, 1, "see it turn: a timing wheel under load", palette::dim);
  c.write_before(panel_end, 1,
                 grouped(v.messages_per_second) + " messages/s wanted   " +
                     fixed(v.time.count(), 1) + " s",
                 palette::dim);
  draw_level_1(c, v);
  draw_falls(c, v);
  draw_level_0(c, v);
  draw_legend(c, v);
  draw_rates(c);
  draw_timers(c, v);
  draw_lateness(c, v);
  return c;
}

void picture::draw_level_1(canvas& c, const view& v) const {
  heading(c, left, l1_top - 1, "level 1", "64 slots of 1 s");
  const std::vector<std::uint32_t>& timers = v.slots.l1.timers;
  const std::size_t next = falls_.next(v.slots);
  const auto after_hand = [&](std::size_t slot) {
    return (slot + timers.size() - v.slots.l1.hand) % timers.size();
  };
  for (std::size_t i = 0; i != timers.size(); ++i) {
    const double part = l1_.of(timers[i]);
    c.column(left + i, hand_row - 1, part * static_cast<double>(l1_rows),
             colour_of_heat(heat_of(part)));
    // Between the hand and the next slot to come down are those that are in level 0.
    const bool is_down = after_hand(i) < after_hand(next);
    c.at(left + i, hand_row) = {is_down ? U'━' : U'─', is_down ? palette::falling : palette::empty,
                                palette::paper};
  }
  c.write(left + v.slots.l1.hand, hand_row, std::u32string_view(U"▲"), palette::bright);
  c.write(left + next, hand_row, std::u32string_view(U"▼"), palette::falling);
}

void picture::draw_falls(canvas& c, const view& v) const {
  falls_.for_each(v.time, [&](std::size_t from, std::size_t to, double part) {
    const double begin = static_cast<double>(from % columns);
    const double end = static_cast<double>(to % columns);
    const double x = begin + (end - begin) * part;
    const double y = part * part * (2.0 * static_cast<double>(falls_rows) - 1); // ever faster
    c.dot(left + static_cast<std::size_t>(x + 0.5), 2 * falls_top + static_cast<std::size_t>(y),
          mix(palette::falling, palette::paper, 0.55 * (1 - part)));
  });
}

void picture::draw_level_0(canvas& c, const view& v) const {
  heading(c, left, l0_top - 1, "level 0", "512 slots of 10 ms");
  const std::vector<std::uint32_t>& timers = v.slots.l0.timers;
  for (std::size_t i = 0; i != timers.size(); ++i) {
    colour ink = timers[i] != 0 ? colour_of_heat(heat_of(l0_.of(timers[i]))) : palette::empty;
    constexpr std::size_t trail = 16;
    const std::size_t behind = (v.slots.l0.hand + timers.size() - i) % timers.size();
    if (behind < trail) {
      ink = mix(palette::bright, ink, static_cast<double>(behind) / trail);
    }
    c.at(left + i % columns, l0_top + i / columns) = tile(ink);
  }
}

void picture::draw_legend(canvas& c, const view& v) const {
  std::size_t x = c.write(left, legend_row, "timers in a slot  0 ", palette::dim);
  constexpr std::size_t steps = 16;
  for (std::size_t i = 0; i != steps; ++i) {
    const double part = static_cast<double>(i + 1) / steps;
    c.at(x++, legend_row) = tile(colour_of_heat(heat_of(part)));
  }
  c.write(x + 1, legend_row, grouped(l1_.full()) + "+ above, " + grouped(l0_.full()) + "+ below",
          palette::dim);

  x = c.write(left, legend_row + 1, std::u32string_view(U"▲"), palette::bright);
  x = c.write(x, legend_row + 1, " the present   ", palette::dim);
  x = c.write(x, legend_row + 1, std::u32string_view(U"━"), palette::falling);
  x = c.write(x, legend_row + 1, " are in level 0   ", palette::dim);
  x = c.write(x, legend_row + 1, std::u32string_view(U"▼"), palette::falling);
  c.write(x, legend_row + 1, " comes down next", palette::dim);

  const bool is_good = v.early == 0;
  c.write(left, legend_row + 3,
          grouped(v.stats.fired) + " callbacks, " + (is_good ? "none" : grouped(v.early)) +
              " before its time",
          is_good ? palette::good : palette::bright);
}

void picture::draw_rates(canvas& c) const {
  heading(c, panel, rates_row, "operations/s");
  using stats = kestrel::timer_wheel_stats;
  c.write_before(panel_end, rates_row, grouped(meter_.operations()), palette::bright);
  const auto& history = meter_.history();
  constexpr std::size_t spark_rows = 2;
  if (!history.empty()) {
    const double most = std::max(1.0, *std::max_element(history.begin(), history.end()));
    for (std::size_t i = 0; i != std::min(history.size(), panel_end - panel); ++i) {
      c.column(panel_end - 1 - i, rates_row + spark_rows, history[i] / most * spark_rows,
               mix(palette::falling, palette::paper, 0.4));
    }
  }
  std::size_t y = rates_row + spark_rows + 1;
  const auto rate = [&](std::string_view name, std::uint64_t stats::*counter) {
    figure(c, y++, name, grouped(meter_.per_second(counter)));
  };
  rate("postponed", &stats::postponed);
  rate("scheduled", &stats::scheduled);
  rate("cancelled", &stats::cancelled);
  rate("fired", &stats::fired);
  rate("times it woke", &stats::wakeups);
}

void picture::draw_timers(canvas& c, const view& v) const {
  heading(c, panel, timers_row, "timers");
  c.write_before(panel_end, timers_row, grouped(v.stats.live), palette::bright);
  figure(c, timers_row + 1, "stale entries", grouped(v.stats.stale_entries));
  figure(c, timers_row + 2, "memory",
         fixed(static_cast<double>(v.stats.memory) / (1024 * 1024), 1) + " MiB");
  figure(c, timers_row + 3, "room for", grouped(v.stats.capacity));
}

void picture::draw_lateness(canvas& c, const view& v) const {
  heading(c, panel, lateness_row, "late by up to");
  using histogram = kestrel::lateness_histogram;
  constexpr std::size_t first = 9; // 0.5 ms, with all before it
  constexpr std::size_t rows = 8;
  std::array<std::uint64_t, rows> counts{};
  for (std::size_t b = 0; b != histogram::buckets; ++b) {
    counts[std::clamp(b, first, first + rows - 1) - first] += v.stats.lateness.counts[b];
  }
  const std::uint64_t most = std::max<std::uint64_t>(1, *std::ranges::max_element(counts));
  for (std::size_t i = 0; i != rows; ++i) {
    const std::size_t y = lateness_row + 1 + i;
    const double bound =
        std::chrono::duration<double, std::milli>(histogram::upper_bound(first + i)).count();
    const std::string name = i + 1 == rows ? "more" : fixed(bound, 1) + " ms";
    c.write_before(panel + 8, y, name, palette::dim);
    const double part = static_cast<double>(counts[i]) / static_cast<double>(most);
    c.bar(panel + 9, y, part * static_cast<double>(panel_end - panel - 9),
          mix(palette::falling, palette::paper, 0.25));
  }
}

} // namespace turn
