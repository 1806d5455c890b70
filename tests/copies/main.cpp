// SPDX-License-Identifier: MIT
//
// A program with three copies of Kestrel, two of one version on either Asio, one of another
// version: each of them works.

#include <cstdio>

namespace on_asio {
int things_done();
}
namespace on_boost {
int things_done();
}
namespace of_later_version {
int things_done();
}

int main() {
  const int asio = on_asio::things_done();
  const int boost = on_boost::things_done();
  const int later = of_later_version::things_done();
  std::printf("of 9 things, %d were done on Asio, %d on Boost.Asio, and %d by the later version\n",
              asio, boost, later);
  return asio == 9 && boost == 9 && later == 9 ? 0 : 1;
}
