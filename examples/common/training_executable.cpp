#include "examples/common/training_executable.h"

TrainingExecutable::TrainingExecutable(const athanor::Graph& model, const Optimizer& optimizer, const athanor::Options& options)
    : step_(MakeTrainingStep(model, optimizer)),
      executable_(athanor::Executable::Compile(step_.graph, options, step_.in_place)),
      loss_(athanor::DType::kF32, {}) {
  for (athanor::ValueId input : step_.graph.inputs()) {
    const athanor::Value& value = step_.graph.value(input);
    tensors_.emplace(value.name, athanor::HostTensor(value.desc.dtype, value.desc.shape));
  }
  tensors_.at("grad.loss").Set(0, 1);
  inputs_ = InputsOf(step_.graph, tensors_);
  for (const athanor::InPlace& pair : step_.in_place) state_.push_back(pair.input);
  // The loss comes first, then what is updated in place.
  outputs_.push_back(loss_.data());
  for (const std::string& name : state_) outputs_.push_back(tensors_.at(name).data());
}

void TrainingExecutable::SetScalars(int64_t number, double lr) {
  tensors_.at("lr").Set(0, lr);
  if (const auto step = tensors_.find("step"); step != tensors_.end()) step->second.Set(0, static_cast<double>(number));
}

float TrainingExecutable::Run(int64_t number, double lr) {
  SetScalars(number, lr);
  executable_->Run(inputs_, outputs_);
  return *Floats(loss_);
}

float TrainingExecutable::RunProfiled(int64_t number, double lr) {
  SetScalars(number, lr);
  executable_->RunProfiled(inputs_, outputs_);
  return *Floats(loss_);
}
