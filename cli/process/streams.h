// Standard output and standard error that may be closed, full or a broken pipe: a command ends with
// its own exit code all the same.
#pragma once

namespace assay::cli {

// At the start of the program. A standard descriptor that is closed leads to /dev/null, so that no
// file of ours gets its number; stdout and stderr become streams that never fail, whatever is
// behind them: what cannot be written is dropped. SIGPIPE stays as it was: by default it ends the
// program.
void keep_streams();

// Flushes stdout; the errno of the first write to it that failed, 0 if all of it was written.
int lost_output();

}  // namespace assay::cli
