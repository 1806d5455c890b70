// SPDX-License-Identifier: MIT
//
// A program with two copies of Kestrel, one on standalone Asio and one on Boost.Asio: both work.

#include <cstdio>

namespace on_asio {
int things_done();
}
namespace on_boost {
int things_done();
}

int main() {
  const int asio = on_asio::things_done();
  const int boost = on_boost::things_done();
  std::printf("of 9 things, %d were done on Asio, and %d on Boost.Asio\n", asio, boost);
  return asio == 9 && boost == 9 ? 0 : 1;
}
