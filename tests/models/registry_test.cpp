#include "bench/models/registry.h"

#include <gmock/gmock.h>

#include "ops/error.h"
#include "ops/fragment.h"
#include "ops/gradient.h"

namespace athanor::models {
namespace {

using ::testing::HasSubstr;

// Parameters are the floating-point inputs that are neither images nor running statistics.
int64_t Parameters(const Graph& graph) {
  int64_t count = 0;
  for (ValueId input : graph.inputs()) {
    const Value& value = graph.value(input);
    if (value.desc.dtype == DType::kF32 && value.name != "x" && value.name.find(".running_") == std::string::npos) count += value.desc.elements();
  }
  return count;
}

std::string ErrorOf(const std::string& path) {
  try {
    BuildModel(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Registry, ParameterCountsArePublishedOnes) {
  EXPECT_EQ(Parameters(BuildModel("model:alexnet")), 61'100'840);
  EXPECT_EQ(Parameters(BuildModel("model:vgg16")), 138'357'544);
  EXPECT_EQ(Parameters(BuildModel("model:resnet50")), 25'557'032);
  EXPECT_EQ(Parameters(BuildModel("model:vit")), 86'567'656);
  EXPECT_EQ(Parameters(BuildModel("model:bert")), 109'482'240);
  EXPECT_EQ(Parameters(BuildModel("model:bert.train")), 109'483'778);  // transformers' BertForSequenceClassification
  EXPECT_EQ(Parameters(BuildModel("model:gpt2")), 124'439'808);
}

TEST(Registry, Yolov7FeatureMaps) {
  const Graph graph = BuildModel("model:yolov7?batch=2");
  ASSERT_EQ(graph.outputs().size(), 3u);
  EXPECT_EQ(graph.desc(graph.outputs()[0].value).shape, (Shape{2, 512, 80, 80}));
  EXPECT_EQ(graph.desc(graph.outputs()[1].value).shape, (Shape{2, 1024, 40, 40}));
  EXPECT_EQ(graph.desc(graph.outputs()[2].value).shape, (Shape{2, 1024, 20, 20}));
}

TEST(Registry, TrainingGivesTheGradientOfEveryParameter) {
  for (const std::string& name : ModelNames()) {
    const Graph graph = BuildModel("model:" + name + ".train?batch=2&shrink=8");
    int64_t wanted = 0, given = 0;
    for (ValueId input : graph.inputs()) wanted += graph.value(input).wants_grad ? graph.desc(input).elements() : 0;
    const Graph joint = Gradient(graph);
    for (const NamedValue& output : joint.outputs()) {
      if (output.name.starts_with("grad.")) given += joint.desc(output.value).elements();
    }
    EXPECT_EQ(wanted, Parameters(graph)) << name;
    EXPECT_EQ(given, wanted) << name;
  }
}

TEST(Registry, FragmentFilesKeepTheGraph) {
  for (const std::string& name : ModelNames()) {
    for (const char* mode : {"", ".train"}) {
      const Graph graph = BuildModel("model:" + name + mode + "?shrink=8");
      const std::string text = WriteFragment(graph);
      EXPECT_EQ(WriteFragment(ReadFragment(text, name)), text);
      EXPECT_EQ(graph.name(), name + (*mode == 0 ? ".fwd" : ".train"));
    }
  }
}

TEST(Registry, GradChoosesTraining) {
  EXPECT_EQ(LoadGraph("model:bert?length=8&shrink=8", true).name(), "bert.train");
  EXPECT_EQ(LoadGraph("model:bert.train?length=8&shrink=8", true).name(), "bert.train");
  EXPECT_EQ(LoadGraph("model:bert", true).name(), "bert.train");
  EXPECT_EQ(LoadGraph("model:bert", false).name(), "bert.fwd");
}

TEST(Registry, ErrorsNameThePlace) {
  EXPECT_THAT(ErrorOf("model:lenet"), HasSubstr("model:lenet: unknown model 'lenet', expected one of alexnet, vgg16"));
  EXPECT_THAT(ErrorOf("model:bert?image=8"), HasSubstr("unknown option 'image'; bert has batch, length, shrink"));
  EXPECT_THAT(ErrorOf("model:bert?length=513"), HasSubstr("option 'length' is '513', expected a number from 1 to 512"));
  EXPECT_THAT(ErrorOf("model:vit?image=100"), HasSubstr("that 16 divides"));
  EXPECT_THAT(ErrorOf("model:vit?batch=2x"), HasSubstr("option 'batch' is '2x'"));
  EXPECT_THAT(ErrorOf("model:vit?batch=2&batch=3"), HasSubstr("given twice"));
  EXPECT_THAT(ErrorOf("model:vit?batch=2&"), HasSubstr("unknown option ''"));
  EXPECT_THAT(ErrorOf("model:vit?"), HasSubstr("unknown option ''"));
  EXPECT_THAT(ErrorOf("model:vit?shrink=3"), HasSubstr("power of two"));
}

}  // namespace
}  // namespace athanor::models
