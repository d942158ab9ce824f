#pragma once

namespace athanor {

// Registers pad: torch.nn.functional.pad with mode "constant" (any dimensions; negative numbers crop), "reflect", "replicate" or
// "circular" (the last dimensions of an input with one or two more in front). `pad` counts from the last dimension: before, after.
// Core form: a constant pad is a window with a fill value; the other modes are concatenations of parts, some of them mirrored windows.
void RegisterPadOps();

}  // namespace athanor
