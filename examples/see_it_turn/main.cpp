// SPDX-License-Identifier: MIT
//
// A timing wheel, live in a terminal: how full its slots are, how timers come down from level 1 to
// level 0 while the hands go round, how late callbacks are. The pictures are a timer on that wheel,
// too, which is single-threaded here: what is seen is not disturbed, but it is late by what drawing
// takes.

#include "../told.hpp"
#include "canvas.hpp"
#include "options.hpp"
#include "picture.hpp"
#include "svg.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "traffic.hpp"

#include <kestrel/timer_wheel.hpp>
#include <kestrel/wheel_config.hpp>

#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <fstream>
#include <iostream>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

namespace turn {

class program {
public:
  explicit program(const options& o)
      : options_{o}, traffic_{wheel_, o.timers, static_cast<double>(o.resets_per_second)} {
    if (terminal::is_there()) {
      terminal_.emplace(!o.plain);
    }
    signals_.async_wait([this](asio::error_code error, int) {
      if (!error) {
        end();
      }
    });
    if (terminal_ && terminal_->keys() >= 0) {
      keys_.emplace(io_, dup(terminal_->keys()));
      wait_for_key();
    }
    if (o.seconds || !terminal_) {
      wheel_.schedule_after(o.seconds.value_or(5s), [this] { end(); });
    }
    wheel_.schedule_every(40ms, 40ms, [this] { look(); });
  }

  // The last picture.
  canvas run() {
    io_.run();
    terminal_.reset();
    told::check(most_seen_ > 0, "timers were seen");
    return picture_.draw(last_);
  }

  std::uint64_t frames() const { return frames_; }

private:
  void look() {
    last_ = {std::chrono::steady_clock::now() - start_, wheel_.occupancy(), wheel_.stats(),
             traffic_.messages_per_second(), traffic_.early()};
    check_slots();
    picture_.look(last_);
    if (terminal_) {
      terminal_->show(picture_.draw(last_));
    }
    if (++frames_ == options_.frames) {
      end();
    }
  }

  void check_slots() {
    std::size_t seen = 0;
    for (const auto* level : {&last_.slots.l0, &last_.slots.l1}) {
      seen = std::accumulate(level->timers.begin(), level->timers.end(), seen);
    }
    told::check(seen <= last_.stats.live, "there are no more timers in slots than in all");
    told::check(last_.early == 0, "no callback is early");
    most_seen_ = std::max(most_seen_, seen);
  }

  void wait_for_key() {
    keys_->async_wait(asio::posix::stream_descriptor::wait_read, [this](asio::error_code error) {
      char key = 0;
      if (error || ::read(keys_->native_handle(), &key, 1) != 1) {
        return;
      }
      if (key == 'q') {
        return end();
      }
      const double rate = traffic_.messages_per_second();
      if (key == '+') {
        traffic_.messages_per_second(std::min(2 * rate + 1, 1e8));
      } else if (key == '-') {
        traffic_.messages_per_second(rate / 2);
      }
      wait_for_key();
    });
  }

  void end() {
    wheel_.shutdown();
    signals_.cancel();
    keys_.reset();
  }

  options options_;
  asio::io_context io_{1};
  asio::signal_set signals_{io_, SIGINT, SIGTERM, SIGHUP};
  kestrel::single_threaded_timer_wheel wheel_{io_};
  traffic traffic_;
  picture picture_{kestrel::wheel_config{}};
  view last_{};
  std::optional<terminal> terminal_;
  std::optional<asio::posix::stream_descriptor> keys_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::uint64_t frames_ = 0;
  std::size_t most_seen_ = 0; // in slots
};

void write_svg(const std::string& file, const canvas& picture) {
  std::ofstream out(file);
  if (!(out << svg(picture).text()).flush()) {
    throw std::runtime_error("cannot write " + file);
  }
}

void show(const options& o) {
  const bool on_terminal = terminal::is_there();
  program p(o);
  const canvas last = p.run();
  if (!on_terminal) {
    std::cout << to_plain_text(last);
  }
  if (!o.svg.empty()) {
    write_svg(o.svg, last);
  }
  std::cout << p.frames() << " pictures, ";
}

} // namespace turn

int main(int argc, char** argv) {
  try {
    const turn::options o = turn::parse_options(argc, argv);
    if (o.help) {
      std::cout << turn::help_text;
      return 0;
    }
    turn::show(o);
    return told::verdict();
  } catch (const command_line::usage_error& e) {
    std::cerr << "see_it_turn: " << e.what() << "\n\n" << turn::help_text;
  } catch (const std::exception& e) {
    std::cerr << "see_it_turn: " << e.what() << '\n';
  }
  return 2;
}
