#pragma once

namespace athanor {

// Registers unfold, torch.nn.functional.unfold: the windows of images [batch, channels, height, width] (or without a batch) as columns
// [batch, channels * kernel elements, windows]. A view through `_window`; its gradient adds, for each position in the window, the
// gradients that belong there, one window shifted by that position at a time.
void RegisterUnfoldOps();

}  // namespace athanor
