#pragma once

namespace athanor {

// Registers rope (x, cos, sin[, positions]; interleaved), rotary position embeddings: Su et al., "RoFormer", 2021. The first
// 2 * cos.shape[-1] elements of x's last dimension are pairs, rotated by the angle whose cosine and sine stand in the row of the
// tables [rows, pairs] that belongs to the position: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin. The two of a pair lie half of the
// rotated part apart (GPT-NeoX), or side by side where `interleaved` (GPT-J). The rest of the dimension passes unchanged.
// Positions broadcast to x's shape without its last dimension; without them the position is the index along x's last but one.
void RegisterRopeOps();

}  // namespace athanor
