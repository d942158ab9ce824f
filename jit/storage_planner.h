#pragma once

#include <map>
#include <set>
#include <vector>

#include "jit/body_builder.h"
#include "jit/plan.h"
#include "jit/plan_builder.h"
#include "jit/views.h"
#include "ops/graph.h"

namespace athanor {

// Decides where stored values live, and creates the buffers. Inputs and outputs live where the caller has them; a part of a
// concatenation lives inside it; the table of a _scatter_rows lives where its result does; a value whose reader sees it permuted is stored in the order of that reader, when its rows
// stay whole. `contiguous` names roots to be stored plainly.
class StoragePlanner {
 public:
  StoragePlanner(const Graph& graph, const std::vector<ViewOf>& views, const std::vector<InPlace>& in_place,
                 const std::set<ValueId>& contiguous);

  Storage Of(ValueId root);
  const std::vector<Program::Buffer>& buffers() const { return buffers_; }

 private:
  struct Part {
    ValueId whole;                                           // the concatenation
    int dim;
    int64_t start;
    ValueId value;                                           // the part as it enters the concatenation
  };

  Storage Place(ValueId root);
  Storage PlacePart(ValueId root, const Part& part);
  Layout ReaderOrder(ValueId root) const;
  int AddBuffer(Program::Buffer::Role role, std::string name, ValueId value, int64_t elements);

  const Graph& graph_;
  const std::vector<ViewOf>& views_;
  const std::set<ValueId>& contiguous_;
  std::vector<Program::Buffer> buffers_;
  std::map<ValueId, Storage> placed_;
  std::map<ValueId, Part> parts_;                            // by the root of the part
  std::map<ValueId, ValueId> updated_;                       // by the root of the table of a _scatter_rows: the result
};

}  // namespace athanor
