// SPDX-License-Identifier: MIT
//
// Lays out the progress line, the table, the histogram and the verdict. Widths are counted in
// characters of the terminal, so only what is drawn with is allowed to be more than ASCII.

#include "report.hpp"

#include "../figures.hpp"
#include "process.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace demo {

namespace {

using figures::fixed;
using figures::grouped;

std::string milliseconds_text(std::chrono::nanoseconds t) {
  const double ms = std::chrono::duration<double, std::milli>{t}.count();
  return fixed(ms, ms < 10 ? 2 : 1) + " ms";
}

std::string left(std::string_view text, std::size_t width) {
  std::string padded{text};
  padded.append(width > text.size() ? width - text.size() : 0, ' ');
  return padded;
}

std::string right(std::string_view text, std::size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ').append(text);
}

void line(std::string text = {}) {
  text.erase(text.find_last_not_of(' ') + 1);
  text += '\n';
  std::fputs(text.c_str(), stdout);
}

void row(std::string_view name, std::string_view value, std::string_view note = {}) {
  line("  " + left(name, 22) + right(value, 12) + (note.empty() ? "" : "   ") + std::string{note});
}

std::string share_of(std::uint64_t part, std::uint64_t whole) {
  const double percent =
      whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
  return fixed(percent, 1) + "%";
}

void print_timers(const run_result& r) {
  const timer_counts sum = sum_of(r.timers);
  const auto print_row = [&](std::string_view name, std::uint64_t timer_counts::*which) {
    std::string text = "  " + left(name, 22) + right(grouped(sum.*which), 12);
    for (const timer_counts& c : r.timers) {
      text += right(grouped(c.*which), 12);
    }
    line(text);
  };
  line("  " + left("timers", 22) + right("all", 12) + right("idle", 12) + right("deadline", 12) +
       right("heartbeat", 12));
  print_row("  scheduled", &timer_counts::scheduled);
  print_row("  cancelled", &timer_counts::cancelled);
  print_row("  postponed", &timer_counts::postponed);
  print_row("  fired", &timer_counts::fired);
}

// A bar of `width` eighths of a character.
std::string bar(std::size_t eighths, bool ascii) {
  std::string text;
  if (ascii) {
    text.append((eighths + 7) / 8, '#');
    return text;
  }
  static constexpr const char* blocks[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  for (std::size_t i = 0; i != eighths / 8; ++i) {
    text += "█";
  }
  return text + blocks[eighths % 8];
}

std::string bound_text(std::size_t index) {
  const double ms = std::chrono::duration<double, std::milli>{lateness_bounds[index]}.count();
  return fixed(ms, ms < 1 ? 1 : 0);
}

void print_histogram(const lateness_summary& lateness, bool ascii) {
  line("  how late the " + grouped(lateness.total) + " timers fired");
  const std::uint64_t most = *std::max_element(lateness.rows.begin(), lateness.rows.end());
  constexpr std::uint64_t full_bar = 40 * 8;
  for (std::size_t i = 0; i != lateness_row_count; ++i) {
    const std::uint64_t n = lateness.rows[i];
    const std::string from = i == 0 ? "0" : bound_text(i - 1);
    const std::string range =
        i + 1 == lateness_row_count ? from + " or more" : from + " to " + bound_text(i);
    const std::uint64_t eighths = n == 0 ? 0 : std::max<std::uint64_t>(1, n * full_bar / most);
    line("  " + right(range, 12) + " ms " + (ascii ? "|" : "│") + right(grouped(n), 10) +
         right(share_of(n, lateness.total), 7) + " " +
         bar(static_cast<std::size_t>(eighths), ascii));
  }
  line("  median " + milliseconds_text(lateness.quantile(0.5)) + ", 99 % " +
       milliseconds_text(lateness.quantile(0.99)) + ", max " + milliseconds_text(lateness.max));
}

void print_verdict(const run_result& r) {
  const bool colour = is_terminal(stdout);
  const auto mark = [&](std::string_view text, const char* code) {
    return colour ? "\033[" + std::string{code} + "m" + std::string{text} + "\033[0m"
                  : std::string{text};
  };
  if (r.good()) {
    line(mark("GOOD", "1;32") +
         ": no timer fired early, none was lost, none ran twice, none ran after it was cancelled.");
    return;
  }
  line(mark("BAD", "1;31") + ":");
  const auto finding = [](std::uint64_t n, std::string_view what) {
    if (n != 0) {
      line("  " + right(grouped(n), 10) + " " + std::string{what});
    }
  };
  finding(r.found.early, "fired early");
  finding(r.found.lost, "lost");
  finding(r.found.twice, "ran twice");
  finding(r.found.after_cancel, "ran after a successful cancel");
  for (const std::string& trouble : r.troubles) {
    line("  " + trouble);
  }
}

} // namespace

progress_line::progress_line() : terminal_{is_terminal(stdout)} {}

bool progress_line::show(const progress& p) {
  if (!terminal_ && p.elapsed < next_) {
    return false;
  }
  const std::string text =
      right(fixed(p.elapsed.count(), 1), 6) + " s " + right(grouped(p.open), 7) + " connections " +
      right(grouped(p.messages_per_second), 7) + " messages/s " + right(grouped(p.fired), 9) +
      " fired " + right(grouped(p.closed_idle), 6) + " closed idle   99 % within " +
      milliseconds_text(p.p99) + (p.clean ? "" : "   BAD");
  if (terminal_) {
    std::printf("\r%s\033[K", text.c_str());
  } else {
    std::printf("%s\n", text.c_str());
    next_ = std::chrono::seconds{5} * (std::floor(p.elapsed / std::chrono::seconds{5}) + 1);
  }
  std::fflush(stdout);
  return true;
}

void progress_line::finish() {
  if (terminal_) {
    std::printf("\r\033[K");
    std::fflush(stdout);
  }
}

void print_report(const run_result& r, bool ascii) {
  line();
  line("echo server on " + std::string{r.backend} + ", " + std::to_string(r.threads) +
       (r.threads == 1 ? " thread" : " threads") + ", seed " + std::to_string(r.seed) + ", " +
       fixed(r.chatted.count(), 1) + " s and " + fixed(r.drained.count(), 2) + " s to close down");
  line();
  row("connections", grouped(r.connections), "at a time; " + grouped(r.accepted) + " in all");
  row("  closed idle", grouped(r.closed_idle), "by the idle timeout");
  row("  vanished", grouped(r.vanished), "reset by the client");
  row("  closed in the end", grouped(r.closed_by_peer));
  if (r.connect_errors != 0) {
    row("  refused", grouped(r.connect_errors), "and tried again");
  }
  row("messages", grouped(r.messages), "echoed");
  row("  per second", grouped(static_cast<double>(r.messages) / r.chatted.count()));
  row("  too late", grouped(r.expired), "met their deadline");
  print_timers(r);
  row("  wake-ups", grouped(r.wakeups), r.wakeup_note);
  row("thread sleeps", grouped(r.sleeps), "of the server, waiting for sockets and timers");
  row("CPU seconds", fixed(r.server_cpu, 2),
      "of the server; the clients took " + fixed(r.client_cpu, 2));
  if (r.found.periods_skipped != 0) {
    row("heartbeats skipped", grouped(r.found.periods_skipped),
        "because the one before came too late");
  }
  line();
  print_histogram(r.lateness, ascii);
  line();
  print_verdict(r);
  std::fflush(stdout);
}

} // namespace demo
