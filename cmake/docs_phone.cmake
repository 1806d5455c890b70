# SPDX-License-Identifier: MIT
#
# Whether a page of the documentation scrolls sideways on a phone, 375 pixels wide: asks Chromium,
# once cmake/docs.cmake has built the site.
#
#   cmake -P cmake/docs_phone.cmake

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

kestrel_find_tool(chromium chromium chromium chromium-browser google-chrome)
if(NOT chromium)
  message(FATAL_ERROR " kestrel: Chromium was not found; install it (Debian: apt-get install chromium) \
and run this command again.")
endif()

set(out "${KESTREL_SOURCE_DIR}/build/docs")
file(GLOB pages RELATIVE "${out}/html" "${out}/html/*.html")
if(NOT pages)
  message(FATAL_ERROR " kestrel: there is no site; cmake -P cmake/docs.cmake builds it.")
endif()

list(LENGTH pages count)
list(JOIN pages "', '" names)
file(
  WRITE "${out}/phone.html"
  "<pre></pre><script>
const report = document.querySelector('pre')
async function look() {
  for (const page of ['${names}']) {
    const phone = document.createElement('iframe')
    phone.width = 375
    phone.height = 800
    document.body.append(phone)
    await new Promise(loaded => { phone.onload = loaded, phone.src = 'html/' + page })
    const root = phone.contentDocument.documentElement
    const verdict = root.scrollWidth > root.clientWidth ? 'is too wide' : 'fits'
    report.textContent += `@\${page} \${verdict}: \${root.scrollWidth} of \${root.clientWidth}\\n`
    phone.remove()
  }
}
look()
</script>
")
execute_process(
  COMMAND "${chromium}" --headless --no-sandbox --disable-gpu --allow-file-access-from-files
          --virtual-time-budget=100000 --dump-dom "file://${out}/phone.html"
  OUTPUT_VARIABLE report
  ERROR_QUIET
  TIMEOUT 300 COMMAND_ERROR_IS_FATAL ANY)

string(REGEX MATCHALL "@[^ @]+ fits" fit "${report}")
string(REGEX MATCHALL "@[^ @]+ is too wide[^\n]*" wide "${report}")
list(LENGTH fit fitting)
if(wide OR NOT fitting EQUAL count)
  list(JOIN wide "\n " wide)
  message(FATAL_ERROR " kestrel: of ${count} pages, ${fitting} fit a phone\n ${wide}")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "kestrel: all ${count} pages fit a phone")
